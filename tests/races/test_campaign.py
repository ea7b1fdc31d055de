"""The campaign of many rounds: a few of each kind, and one guard taken out of each."""

import subprocess
import sys

import pytest

from tests.races import campaign
from tests.support.sidecar import ROOT

#: For each kind of round a guard without which it must fail.
WITHOUT = {
    "delegate": "stop_not_asked_when_delegating",
    "extend": "stop_not_asked_when_extending",
    "fence": "freeze_not_asked_when_issuing",
    "approval": "withdrawal_not_asked_when_committing",
    "budget": "budget_looked_at_before",
}


@pytest.mark.parametrize("kind", campaign.KINDS)
def test_a_campaign_counts_its_rounds_and_finds_nothing(kind: str) -> None:
    """It says how many rounds there were, and what they met."""
    ended = _campaign(kind, "--rounds", "3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith(f"{kind}: 3 rounds in ")
    assert ended.stdout.endswith("}, 0 faults\n")


@pytest.mark.parametrize("kind", campaign.KINDS)
def test_a_campaign_ends_at_a_fault(kind: str) -> None:
    """Without the guard that its rounds are about, long before its last round."""
    ended = _campaign(kind, "--rounds", "250", "--defect", WITHOUT[kind])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    first, fault, *_ = ended.stdout.splitlines()
    assert int(first.split()[1]) < 100, first
    assert ":" in fault


def _campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.races.campaign", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
