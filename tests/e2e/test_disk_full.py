"""A full disk under the embedded store: work stops, stopping works, and nothing that was answered is lost."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.e2e.disks import KINDS, LASTING, Disk
from tests.support.caller import Caller, refused
from tests.support.messages import listed

#: What is left of the disk when the story begins: enough for some dozens of decisions.
LEFT = 96 * 1024
MANY = 5000


Kind = Callable[[], AbstractContextManager[Disk]]


@contextmanager
def serving(kind: Kind) -> Iterator[tuple[Disk, Caller]]:
    """A small disk, a sidecar started on it, and somebody to call that."""
    with kind() as disk:
        disk.sidecar.start()
        with Caller(disk.sidecar) as caller:
            yield disk, caller


def prepare_until_full(caller: Caller, token: str) -> set[str]:
    """Prepare until the disk is full; answer what was acknowledged."""
    prepared: set[str] = set()
    with refused("STORE_FULL") as told:
        for number in range(MANY):
            caller.prepare(token, f"fill-{number}", ttl=600)
            prepared.add(f"fill-{number}")
    assert told.code == "RESOURCE_EXHAUSTED"
    assert told.message.startswith("the store has no room left (")
    assert told.message.endswith("): do not act; make room, cancel still works")
    return prepared


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_on_a_full_disk_work_stops_and_stopping_works(kind: Kind) -> None:
    """Prepare is refused with the remedy; settle, cancel and the report go on; with room, all goes on."""
    with serving(kind) as (disk, caller):
        token = caller.begin("r-1")
        for other in range(20):
            caller.open(f"other-{other}")
        fence = caller.perform(token, "op-1", within=60).fence
        caller.perform(token, "op-2", within=60)
        disk.fill(LEFT)
        prepared = prepare_until_full(caller, token)
        assert prepared, "there was room for some"
        disk.sidecar.wait_health("NOT_SERVING", "store")
        _stop_without_room(caller, token, prepared, fence)
        disk.sidecar.wait_health("NOT_SERVING", "store")

        disk.free()
        disk.sidecar.wait_health("SERVING", "store")
        with refused("REVOKED"):
            caller.commit(token, min(prepared))
        again = caller.begin("r-2")
        caller.prepare(again, "op-1")
        assert caller.commit(again, "op-1").fence > fence
        for one in ("r-1", "other-0", "other-19", "nobody-knows"):
            assert caller.cancel(one).replayed
        report = caller.report("r-1")
        assert set(listed(report, "done")) == {"op-1", "op-2"}
        assert set(listed(report, "interrupted")) == prepared


def _stop_without_room(caller: Caller, token: str, prepared: set[str], fence: int) -> None:
    """Everything that stops, or tells, works; everything that would add work is refused."""
    caller.settle(token, "op-1", receipt="msg-1")
    report = caller.cancel("r-1").report
    assert listed(report, "done")["op-1"].fence == fence
    assert set(listed(report, "in_flight")) == {"op-2"}
    assert set(listed(report, "interrupted")) == prepared
    assert report.complete
    for other in range(20):
        assert caller.cancel(f"other-{other}").known
    assert not caller.cancel("nobody-knows").known
    assert caller.freeze("f-1", tenant="acme").fence_id == "f-1"
    with refused("STORE_FULL", "REVOKED"):
        caller.commit(token, min(prepared))
    caller.settle(token, "op-2", receipt="msg-2")
    assert set(listed(caller.report("r-1"), "done")) == {"op-1", "op-2"}


@pytest.mark.parametrize("kind", LASTING, ids=lambda kind: kind.__name__)
def test_a_crash_on_a_full_disk_loses_nothing_and_a_cancel_still_works(kind: Kind) -> None:
    """Killed when there is no room left and started again without any, it can still be told to stop."""
    with serving(kind) as (disk, caller):
        token = caller.begin("r-1")
        fence = caller.perform(token, "op-1", within=60).fence
        disk.fill(LEFT)
        prepared = prepare_until_full(caller, token)
        disk.sidecar.restart()
        with Caller(disk.sidecar) as later:
            report = later.cancel("r-1").report
            assert listed(report, "in_flight")["op-1"].fence == fence
            assert set(listed(report, "interrupted")) == prepared
            later.settle(token, "op-1")
            with refused("STORE_FULL"):
                for number in range(MANY):
                    later.open(f"fill-{number}")
            disk.sidecar.wait_health("NOT_SERVING", "store")
            disk.free()
            disk.sidecar.wait_health("SERVING", "store")
            assert later.perform(later.begin("r-2"), "op-1").fence > fence
            assert set(listed(later.report("r-1"), "done")) == {"op-1"}
