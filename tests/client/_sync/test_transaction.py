# Derived from tests/client/_async/test_transaction.py by scripts/unasync.py. Do not edit.
"""Transactions: staged writes are done together under one permit, or none of them."""

from typing import Any

import pytest

import countermand.sync as countermand
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy


class Rows:
    """Where writes land."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, row: Any) -> str:
        self.written.append(row)
        return f"row-{row}"

    def fail(self, error: Exception) -> None:
        raise error


def test_writes_are_done_in_order_under_one_permit(proxy: Proxy) -> None:
    """Nothing before the block has ended, everything then; and one action on record."""
    rows = Rows()
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["crm.*"]):
            with countermand.transaction("crm.update", args={"id": 7}) as tx:
                tx.stage(rows.write, 1)
                tx.stage(rows.write, row=2)
                assert rows.written == []
        [done] = (run.report()).done

    assert (rows.written, tx.results) == ([1, 2], ["row-1", "row-2"])
    assert (done.op_id, done.state) == (tx.op_id, countermand.ActionState.SUCCEEDED)
    calls = [call for call in proxy.calls if call.endswith("Action")]
    assert calls == ["PrepareAction", "CommitAction", "SettleAction"]


def test_a_cancel_drops_all_of_them(real: Sidecar) -> None:
    """The commit is refused, nothing is written, and the report says interrupted."""
    rows = Rows()
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.Revoked):
                with countermand.transaction("crm.update") as tx:
                    tx.stage(rows.write, 1)
                    report = run.cancel()
        later = cm.auditor.report(run.run_id)

    assert rows.written == []
    assert [one.op_id for one in report.interrupted] == [tx.op_id]
    assert [(one.op_id, one.verb) for one in later.late_attempts] == [(tx.op_id, "commit")]
    assert [one.op_id for one in later.interrupted] == [tx.op_id]


def test_an_exception_drops_all_of_them(real: Sidecar) -> None:
    """It leaves the block as it is, and the action is abandoned."""
    rows = Rows()
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(ValueError, match="wrong customer"):
                with countermand.transaction("crm.update") as tx:
                    tx.stage(rows.write, 1)
                    raise ValueError("wrong customer")
        report = run.report()

    assert rows.written == []
    assert [(one.op_id, one.state) for one in report.not_done] == [
        (tx.op_id, countermand.ActionState.ABANDONED)
    ]


def test_nothing_staged_asks_for_nothing(real: Sidecar) -> None:
    """An empty transaction is one that changed its mind."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.transaction("crm.update") as tx:
                pass
        assert [one.op_id for one in (run.report()).not_done] == [tx.op_id]


@pytest.mark.parametrize(
    ("before", "error", "state", "note"),
    [
        (0, countermand.NotSent(), "FAILED", "not sent"),
        (0, OSError(), "UNKNOWN", "left by OSError"),
        (1, countermand.NotSent(), "UNKNOWN", "1 of 3 writes done, then left by NotSent"),
        (1, OSError(), "UNKNOWN", "1 of 3 writes done, then left by OSError"),
    ],
)
def test_a_failure_amid_the_writes_is_told_truly(
    real: Sidecar, before: int, error: Exception, state: str, note: str
) -> None:
    """It failed only if nothing was written, and says so; what comes behind the failure is not written."""
    rows = Rows()
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(type(error)):
                with countermand.transaction("crm.update") as tx:
                    for row in range(before):
                        tx.stage(rows.write, row)
                    tx.stage(rows.fail, error)
                    for row in range(before, 2):
                        tx.stage(rows.write, row)
        report = run.report()

    assert rows.written == list(range(before))
    assert tx.settled is not None
    assert tx.settled.state == state
    assert [one.note for one in (*report.unknown, *report.not_done)] == [note]


def test_the_tools_own_word_counts(real: Sidecar) -> None:
    """A write that took back what was done before it may say so."""
    rows = Rows()

    def roll_back() -> None:
        rows.written.clear()
        tx.failed("rolled back")
        raise ValueError("no such row")

    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(ValueError, match="no such row"):
                with countermand.transaction("crm.update") as tx:
                    tx.stage(rows.write, 1)
                    tx.stage(roll_back)
        assert [one.note for one in (run.report()).not_done] == ["rolled back"]


def test_no_write_begins_after_the_permit(real: Sidecar, clock: ManualClock) -> None:
    """What was too slow is unknown, and the rest does not happen."""
    rows = Rows()

    def dawdle() -> None:
        clock.advance("6s")

    client = countermand.connect(real.home, clock=clock.elapsed)
    with client as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(
                countermand.PermitLapsed, match="after 1 of 2 writes: the rest did not happen"
            ):
                with countermand.transaction("crm.update", use_within="5s") as tx:
                    tx.stage(dawdle)
                    tx.stage(rows.write, 1)
        assert [one.op_id for one in (run.report()).unknown] == [tx.op_id]
    assert rows.written == []


def test_work_that_is_still_to_be_done_is_no_write(real: Sidecar) -> None:
    """A generator would write after the permit: it is closed and refused."""

    def later() -> Any:
        yield pytest.fail("written")

    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(TypeError, match="answered a generator"):
                with countermand.transaction("crm.update") as tx:
                    tx.stage(later)
        assert [one.op_id for one in (run.report()).unknown] == [tx.op_id]


def test_a_transaction_that_is_over_takes_no_more(real: Sidecar) -> None:
    """What would be staged then would never be written, and nobody would know."""
    rows = Rows()
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.transaction("crm.update") as tx:
                tx.stage(rows.write, 1)
            with pytest.raises(countermand.FixTheCall, match="takes no more writes"):
                tx.stage(rows.write, 2)
