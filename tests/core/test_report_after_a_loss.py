"""Reports after an epoch ended: facts may have been lost, so nothing is called certain that is not."""

import pytest

from grant_service.core import verbs
from grant_service.core.action import Intent
from grant_service.core.compile import compile_report
from grant_service.core.grant import GrantRef
from grant_service.core.report import Report
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.memory import MemoryStore

REF = GrantRef("g-1", "r-1", (), "tool", "")
NOW = 1_000_000


@pytest.fixture
async def store() -> MemoryStore:
    """A store in which `o-1` is prepared."""
    store = MemoryStore(lambda: NOW, "epoch-1")
    await store.open(verbs.Open("r-1", 60_000, 60_000))
    await store.issue(verbs.Issue("g-1", "r-1", "tool", (Scope("*"),), 60_000))
    intent = Intent("o-1", "email.send", "", "00", Reversibility.REVERSIBLE)
    await store.prepare(verbs.Prepare(REF, "tool", intent, 10_000, 100))
    return store


async def _report(store: MemoryStore) -> Report:
    report = await compile_report(store, "r-1")
    assert isinstance(report, Report)
    return report


async def test_what_was_prepared_may_have_happened(store: MemoryStore) -> None:
    """Its permit may be among what was lost: it is unknown, and the run is not called quiet."""
    store.renew_epoch("epoch-2")

    report = await _report(store)

    assert [action.state for action in report.actions] == ["UNKNOWN"]
    assert not report.quiesced
    assert report.gaps


async def test_a_cancel_after_the_loss_makes_nothing_certain(store: MemoryStore) -> None:
    """The cut is newer than the hole: what is in the hole stays unknown."""
    store.renew_epoch("epoch-2")
    await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))

    report = await _report(store)

    assert [action.state for action in report.actions] == ["UNKNOWN"]
    assert not report.quiesced


@pytest.mark.parametrize("end", ["cancel", "finish"])
async def test_what_was_cut_before_the_loss_stays_interrupted(store: MemoryStore, end: str) -> None:
    """The entry of the end is here, so everything from before it is: no permit can be missing."""
    if end == "cancel":
        await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))
    else:
        await store.finish(verbs.Finish("r-1"))
    store.renew_epoch("epoch-2")

    report = await _report(store)

    assert [action.state for action in report.actions] == ["INTERRUPTED"]
    assert report.quiesced
