"""Every refusal can be put in words."""

import re
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grant_service.core.errors import _EXPLANATIONS, AFTER_THE_STOP, ErrorReason, Refusal, explain

NAMES = sorted({name for text in _EXPLANATIONS.values() for _, name, _, _ in Formatter().parse(text) if name})


@pytest.mark.parametrize("reason", ErrorReason)
def test_every_reason_has_its_sentence(reason: ErrorReason) -> None:
    """With the details at hand the sentence is complete: one line that names the thing and the way out."""
    details = {name: f"<{name}>" for name in NAMES}
    text = explain(Refusal(reason, details))
    wanted = {name for _, name, _, _ in Formatter().parse(_EXPLANATIONS[reason]) if name}
    assert all(f"<{name}>" in text for name in wanted)
    assert "?" not in text
    assert len(text.splitlines()) == 1
    assert re.search(r"[;:] |in the contract", text), "no way out"


@pytest.mark.parametrize("reason", ErrorReason)
def test_a_sentence_never_fails_for_want_of_details(reason: ErrorReason) -> None:
    """An explanation without details is poorer, not an error."""
    assert explain(Refusal(reason))


@given(
    st.sampled_from(ErrorReason),
    st.dictionaries(st.sampled_from([*NAMES, "actor", "ended_ago_ms", "ended_run"]), st.text()),
)
def test_no_detail_makes_a_sentence_fail(reason: ErrorReason, details: dict[str, str]) -> None:
    """Whatever stands in the details, there is a sentence."""
    assert explain(Refusal(reason, details))


def test_a_cancelled_run_is_told_with_who_when_and_why() -> None:
    """The sentence for a late commit says who stopped the run, why, how long ago, and what to do."""
    ended = {"run": "r-1", "ended_run": "r-1", "stop_reason": "USER_STOP"}
    details = ended | {"actor": "u-7", "ended_ago_ms": "3400"}
    wanted = "run r-1 was cancelled by u-7 3s ago (USER_STOP): do not act; see 'countermand report r-1'"
    assert explain(Refusal(ErrorReason.REVOKED, details)) == wanted


def test_a_run_ended_from_above_is_told_through_whom() -> None:
    """The sentence names the run that was really cancelled."""
    details = {"run": "r-2", "ended_run": "r-1", "stop_reason": "INCIDENT"}
    assert "run r-2 was cancelled through run r-1 above it (INCIDENT)" in explain(
        Refusal(ErrorReason.REVOKED, details)
    )


def test_an_action_without_a_resource_is_told_without_a_gap() -> None:
    """An empty resource is a value, not a missing one."""
    details = {"grant": "g-1", "action": "email.send", "rule": "action"}
    assert "allows email.send on ''" in explain(Refusal(ErrorReason.OUT_OF_SCOPE, details))


def test_what_comes_after_a_stop_says_do_not_act() -> None:
    """Every refusal that a stopped run causes tells the tool not to act."""
    assert all("do not act" in explain(Refusal(reason)) for reason in AFTER_THE_STOP)
