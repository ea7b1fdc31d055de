"""Reading: runs as they stand, page by page, and a journal in order."""

from typing import Any

import pytest

from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from grant_service.core import listing
from grant_service.core.verbs import Open
from tests.rpc.support import Served, commit, intent

ACTIVE, CANCELLED = grant_pb.RUN_STATE_ACTIVE, grant_pb.RUN_STATE_CANCELLED
FINISHED = grant_pb.RUN_STATE_FINISHED


async def open_runs(sidecar: Served, *run_ids: str, **fields: Any) -> None:
    """Open runs in this order."""
    for run_id in run_ids:
        await sidecar.issuer("OpenRun", run_id=run_id, **fields)


async def listed(sidecar: Served, **asked: Any) -> list[str]:
    """The ids of one page of runs."""
    return [run.run_id for run in (await sidecar.auditor("ListRuns", **asked)).runs]


async def pages(sidecar: Served, **asked: Any) -> list[list[str]]:
    """All pages of runs, by their tokens."""
    found, token = [], ""
    while True:
        answer = await sidecar.auditor("ListRuns", page_token=token, **asked)
        found.append([run.run_id for run in answer.runs])
        token = answer.next_page_token
        if not token:
            return found


async def test_runs_are_listed_the_youngest_first(sidecar: Served) -> None:
    """Also those that ended; an empty store has an empty list."""
    assert await pages(sidecar) == [[]]
    await open_runs(sidecar, "a", "b", "c")
    await sidecar.cancel("a")
    assert await listed(sidecar) == ["c", "b", "a"]


async def test_a_list_goes_on_where_its_page_ended(sidecar: Served) -> None:
    """No run comes twice and none is left out, also if runs are opened meanwhile."""
    await open_runs(sidecar, *(f"r-{number}" for number in range(7)))
    assert [run for page in await pages(sidecar, page_size=3) for run in page] == [
        f"r-{n}" for n in range(6, -1, -1)
    ]
    assert [len(page) for page in await pages(sidecar, page_size=3)] == [3, 3, 1]
    first = await sidecar.auditor("ListRuns", page_size=3)
    await open_runs(sidecar, "young")
    rest = await sidecar.auditor("ListRuns", page_size=10, page_token=first.next_page_token)
    assert [run.run_id for run in rest.runs] == ["r-3", "r-2", "r-1", "r-0"]
    assert rest.next_page_token == ""


async def test_a_page_has_a_hundred_runs_and_never_more_than_a_thousand(sidecar: Served) -> None:
    """Unless a smaller one is asked for."""
    for number in range(1100):
        await sidecar.store.open(Open(f"r-{number}", ttl_ms=60_000, keep_ms=1))
    assert [len(await listed(sidecar, page_size=size)) for size in (0, 1, 1000, 2**31 - 1)] == [
        100,
        1,
        1000,
        1000,
    ]


async def test_runs_are_picked_by_whom_they_are_for(sidecar: Served) -> None:
    """Subject, agent, tenant: all that are given must match, letter for letter."""
    await open_runs(sidecar, "a", subject="u-1", agent="mailer", tenant="acme")
    await open_runs(sidecar, "b", subject="u-2", agent="mailer", tenant="acme")
    await open_runs(sidecar, "c", subject="u-1", agent="planner")
    await open_runs(sidecar, "d")
    assert await listed(sidecar, subject="u-1") == ["c", "a"]
    assert await listed(sidecar, agent="mailer") == ["b", "a"]
    assert await listed(sidecar, tenant="acme") == ["b", "a"]
    assert await listed(sidecar, subject="u-1", agent="mailer") == ["a"]
    assert await listed(sidecar, subject="U-1") == []
    assert await listed(sidecar, subject="u-") == []


async def test_a_run_below_a_stopped_one_is_listed_as_stopped(sidecar: Served) -> None:
    """Nothing was written to it: it looks up, and so does the list. The end names the run above."""
    await open_runs(sidecar, "p", "q")
    await open_runs(sidecar, "c", parent_run_id="p")
    await open_runs(sidecar, "g", parent_run_id="c")
    await open_runs(sidecar, "k", parent_run_id="q")
    await sidecar.cancel("p", actor="ann")
    await sidecar.issuer("FinishRun", run_id="q")
    assert await listed(sidecar, state=CANCELLED) == ["g", "c", "p"]
    assert await listed(sidecar, state=FINISHED) == ["k", "q"]
    assert await listed(sidecar, state=ACTIVE) == []
    for run_id, above, reason in (
        ("g", "p", "USER_STOP"),
        ("c", "p", "USER_STOP"),
        ("k", "q", "RUN_FINISHED"),
    ):
        run = (await sidecar.auditor("GetRun", run_id=run_id)).run
        assert run.end.run_id == above
        assert run.end.reason == errors_pb2.StopReason.Value(f"STOP_REASON_{reason}")
        assert (await sidecar.auditor("GetReport", run_id=run_id)).report.run == run


async def test_a_run_past_its_deadline_is_listed_as_stopped(sidecar: Served) -> None:
    """By the store's clock; its children cannot outlive it."""
    await open_runs(sidecar, "p", ttl={"seconds": 60})
    await open_runs(sidecar, "c", parent_run_id="p", ttl={"seconds": 600})
    await open_runs(sidecar, "q", ttl={"seconds": 600})
    sidecar.clock.advance(60)
    assert await listed(sidecar, state=CANCELLED) == ["c", "p"]
    assert await listed(sidecar, state=ACTIVE) == ["q"]
    end = (await sidecar.auditor("GetRun", run_id="p")).run.end
    assert (end.reason, end.seq) == (errors_pb2.STOP_REASON_DEADLINE, 0)


async def test_a_new_epoch_of_the_store_stops_all_runs(sidecar: Served) -> None:
    """Facts may have been lost; the list says so of every run."""
    await open_runs(sidecar, "a", "b")
    sidecar.store.renew_epoch()
    assert await listed(sidecar, state=CANCELLED) == ["b", "a"]
    assert (await sidecar.auditor("GetRun", run_id="a")).run.end.reason == errors_pb2.STOP_REASON_STORE_EPOCH


async def test_a_filter_that_matches_little_gives_short_pages_and_ends(
    sidecar: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is bounded by what was looked at, so that no question takes long; the last page is the last."""
    monkeypatch.setattr(listing, "_MAX_LOOKED_AT", 4)
    await open_runs(sidecar, "first", subject="u-1")
    await open_runs(sidecar, *(f"r-{number}" for number in range(9)))
    found = await pages(sidecar, subject="u-1", page_size=2)
    assert [run for page in found for run in page] == ["first"]
    assert len(found) > 1


async def test_a_run_is_told_with_all_that_was_said_of_it(sidecar: Served) -> None:
    """And with how many actions and refusals it had."""
    told = {"subject": "u-1", "agent": "mailer", "tenant": "acme", "labels": {"a": "b"}}
    await open_runs(sidecar, "p")
    opened = await sidecar.issuer("OpenRun", run_id="c", parent_run_id="p", ttl={"seconds": 60}, **told)
    token = await _token(sidecar, "c")
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    await sidecar.tool.refused("CommitAction", **commit(token, "o-2"))
    run = (await sidecar.auditor("GetRun", run_id="c")).run
    assert {name: getattr(run, name) for name in told} == told
    assert (run.run_id, run.parent_run_id, list(run.ancestor_run_ids)) == ("c", "p", ["p"])
    assert (run.action_count, run.refusal_count, run.state) == (1, 1, ACTIVE)
    assert run.deadline_time.seconds - run.open_time.seconds == 60
    assert (run.store_epoch, run.open_time) == (sidecar.store.state.epoch, opened.run.open_time)
    assert not run.HasField("end")
    assert (await sidecar.auditor("ListRuns", page_size=1)).runs[0] == run


async def _token(sidecar: Served, run_id: str) -> str:
    issued = await sidecar.issuer("IssueGrant", run_id=run_id, scopes=[{"action": "*"}])
    return str(issued.grant_token)


async def test_a_journal_is_read_in_order_and_in_pages(sidecar: Served) -> None:
    """Each entry once, by the number of the last one seen."""
    token = await sidecar.grant()
    for number in range(5):
        await sidecar.permit(token, f"o-{number}")
    await sidecar.cancel()
    whole = (await sidecar.auditor("ListEntries", run_id="r-1")).entries
    assert [one.kind for one in whole] == ["OPENED", "ISSUED", *["PREPARED", "PERMITTED"] * 5, "CANCELLED"]
    assert [one.seq for one in whole] == sorted({one.seq for one in whole})
    found, after, more = [], 0, True
    while more:
        page = await sidecar.auditor("ListEntries", run_id="r-1", after_seq=after, page_size=4)
        assert len(page.entries) <= 4
        found += page.entries
        after, more = found[-1].seq, page.more
    assert found == list(whole)
    beyond = await sidecar.auditor("ListEntries", run_id="r-1", after_seq=after)
    assert (list(beyond.entries), beyond.more) == ([], False)


async def test_a_page_that_ends_with_the_journal_says_that_there_is_no_more(sidecar: Served) -> None:
    """One entry fewer, and there is."""
    await sidecar.grant()
    assert [
        (await sidecar.auditor("ListEntries", run_id="r-1", page_size=size)).more for size in (1, 2, 3)
    ] == [True, False, False]


async def test_a_page_of_a_journal_never_has_more_than_a_thousand_entries(sidecar: Served) -> None:
    """And a hundred if nothing is said."""
    await sidecar.grant()
    entry = (await sidecar.journal())[0]
    for _ in range(1200):
        sidecar.store.state.append("r-1", entry.kind, entry.data)
    for size, expected in ((0, 100), (1000, 1000), (5000, 1000)):
        page = await sidecar.auditor("ListEntries", run_id="r-1", page_size=size)
        assert (len(page.entries), page.more) == (expected, True)


@pytest.mark.parametrize("method", ["GetRun", "GetReport", "ListEntries"])
async def test_what_is_not_known_is_said_to_be_unknown(sidecar: Served, method: str) -> None:
    """Not an empty answer, which would look like a run that did nothing."""
    refused = await sidecar.auditor.refused(method, run_id="r-nobody")
    assert (refused.reason, refused.metadata) == ("RUN_UNKNOWN", {"run": "r-nobody"})


async def test_reading_changes_nothing(sidecar: Served) -> None:
    """Whatever is read, and however often."""
    await sidecar.grant()
    before = repr(vars(sidecar.store.state))
    for method in ("GetRun", "GetReport", "ListEntries"):
        for run_id in ("r-1", "r-nobody"):
            if run_id == "r-1":
                await sidecar.auditor(method, run_id=run_id)
            else:
                await sidecar.auditor.refused(method, run_id=run_id)
    await sidecar.auditor("ListRuns")
    assert repr(vars(sidecar.store.state)) == before
