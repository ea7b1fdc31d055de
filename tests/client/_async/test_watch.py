"""Following a journal: on from where it was when the sidecar went away, and no longer than wanted."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

import countermand
from countermand import Entry
from tests.support.sidecar import SidecarProcess, sidecar_running


@pytest.fixture
def process() -> Iterator[SidecarProcess]:
    """A sidecar of its own, with a place for one who follows a journal."""
    with sidecar_running(max_operator_calls=4) as handle:
        yield handle


async def kinds(entries: AsyncIterator[Entry], count: int) -> list[str]:
    """Read so many, and leave the rest for later."""
    found: list[str] = []
    async for entry in entries:
        found.append(entry.kind)
        if len(found) == count:
            break
    return found


async def test_a_journal_is_followed_over_a_restart(process: SidecarProcess) -> None:
    """Each entry comes once, also when the sidecar stops in order, or is killed."""
    async with countermand.connect(process.home) as cm:
        await cm.issuer.open(run_id="r-1")
        async with aclosing(cm.auditor.watch("r-1")) as entries:
            assert await kinds(entries, 1) == ["OPENED"]
            process.terminate()
            process.start()
            await cm.issuer.issue("r-1", scopes=["*"])
            assert await kinds(entries, 1) == ["ISSUED"]
            process.kill()
            process.start()
            await cm.operator.cancel("r-1", reason="USER_STOP")
            assert await kinds(entries, 1) == ["CANCELLED"]
        async with aclosing(cm.auditor.watch("r-1", after_seq=1)) as entries:
            assert await kinds(entries, 2) == ["ISSUED", "CANCELLED"]


async def test_a_sidecar_that_does_not_come_back_is_not_waited_for_for_ever(process: SidecarProcess) -> None:
    """No longer than the caller says; what is refused for good is not asked for again."""
    async with countermand.connect(process.home) as cm:
        await cm.issuer.open(run_id="r-1")
        with pytest.raises(countermand.NotFound):
            await kinds(cm.auditor.watch("r-2"), 1)
        entries = cm.auditor.watch("r-1", timeout=0.5)
        assert await kinds(entries, 1) == ["OPENED"]
        process.terminate()
        with pytest.raises(countermand.TryAgain):
            await kinds(entries, 1)


async def test_whoever_stops_following_makes_place_for_another(process: SidecarProcess) -> None:
    """There is only one place: it is free as soon as the iteration is closed."""
    async with countermand.connect(process.home) as cm:
        await cm.issuer.open(run_id="r-1")
        for _ in range(3):
            async with aclosing(cm.auditor.watch("r-1")) as entries:
                assert await kinds(entries, 1) == ["OPENED"]
                with pytest.raises(countermand.TryAgain) as full:
                    await kinds(cm.auditor.watch("r-1", timeout=0.1), 1)
                assert full.value.reason is countermand.ErrorReason.OVERLOADED
