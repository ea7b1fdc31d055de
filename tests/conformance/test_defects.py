"""The conformance suite can fail: each rule catches the adapter that breaks it, and no other adapter."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermand.testing.conformance import (
    CHECKS,
    CHECKS_OF_GRADE_A,
    NotConforming,
    ProcessService,
    Seam,
    Service,
    Stage,
    checks_of,
)
from countermand.testing.conformance.service import VARIABLE, make_service, remove
from tests.conformance.defects import DEFECTS, WAITED_FOR_IN_VAIN
from tests.conformance.seams import Perform


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A sidecar for all of them."""
    made = make_service()
    try:
        made.start()
        yield made
    finally:
        remove(made)


def broken(seam: Seam, service: Service) -> dict[str, str]:
    """Run all checks; answer the rules that it breaks, and what is said of it."""
    faults = {}
    with Stage(seam, service) as stage:
        for check in checks_of(seam):
            try:
                stage.run(check)
            except NotConforming as fault:
                faults[check.__name__] = str(fault)
    return faults


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_is_caught_by_the_rule_it_breaks(
    defect: type[Seam], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By that one, and by no other."""
    if defect in WAITED_FOR_IN_VAIN:
        monkeypatch.setattr("countermand.testing.conformance.stage.PATIENCE", 0.5)
    faults = broken(defect(), service)
    assert faults.keys() == DEFECTS[defect]
    assert all(fault.startswith(f"{defect.name}: ") for fault in faults.values())


def test_every_rule_has_a_defect() -> None:
    """So that none of them is one that cannot fail."""
    assert set().union(*DEFECTS.values()) == {check.__name__ for check in (*CHECKS, *CHECKS_OF_GRADE_A)}


def test_a_sidecar_of_another_environment_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its command, stopped and started again as the one in this process."""
    monkeypatch.setenv(VARIABLE, str(Path(sys.executable).parent / "countermand"))
    service = make_service()
    assert isinstance(service, ProcessService)
    try:
        service.start()
        assert broken(Perform(), service) == {}
    finally:
        remove(service)
    assert not service.home.exists()


def test_a_command_that_is_no_sidecar_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said is in the error, and nothing of it is left."""
    monkeypatch.setenv(VARIABLE, sys.executable)
    service = make_service()
    try:
        with pytest.raises(RuntimeError, match=r"COUNTERMAND_SIDECAR=.* did not start: .*--home"):
            service.start()
    finally:
        remove(service)
