"""Races over duties: asking for an undo, claiming, carrying out and taking back, each against what meets it.

As in authority.py every round answers with what was wrong and what it met. What came first is told by the
numbers of the journal, and how long a lease lasted by the times in it: both are the store's.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import undo_service_pb2 as pb
from tests.races.authority import Call, Start, Told, made
from tests.races.load import JITTER, TIMEOUT, Load
from tests.support import messages as say

#: Runs of one round. Each has a function of its own name, so that a claim is for one run.
ITEMS = 16
#: A lease that is over within the round, in seconds.
SHORT = 0.02
#: What a claim or an undo meets waits up to this long: both read before they decide.
LATER = 6 * JITTER

Entries = list[journal_pb.Entry]


class Together(Start):
    """A start for those who have to prepare, each for himself: when the last is ready."""

    _left = 0

    async def ready(self) -> None:
        """Say that one is ready, and wait for the others."""
        self._left -= 1
        if not self._left:
            self._event.set()
        await self._event.wait()

    async def play(self, racers: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Let everybody prepare and race."""
        everybody = list(racers)
        self._left = len(everybody)
        async with asyncio.TaskGroup() as group:
            for one in everybody:
                group.create_task(one)


async def late_settle_round(load: Load, number: int) -> Told:
    """Claim the undo of effects while their tools say, late, whether they happened."""
    told, start = Told(), Together(load)

    async def each(run: str) -> None:
        token = await _began(load, run)
        await load.tool.PerformAction(say.undoable(token, "o-1", run), timeout=TIMEOUT)
        await _ended(load, run)
        await start.ready()
        happened = load.dice.random() < 0.5
        late = say.settle(token, "o-1", outcome="SUCCEEDED" if happened else "FAILED")
        settle, *claims = await asyncio.gather(
            _after(start, load.tool.SettleAction, late, LATER),
            *(_after(start, load.compensator.ClaimDuty, claim(run)) for _ in range(3)),
        )
        claims.append(await made(load.compensator.ClaimDuty, claim(run)))
        entries = await _entries(load, run)
        (settled,) = _seqs(entries, "SETTLED")
        claimed = _seqs(entries, "CLAIMED")
        if any(seq < settled for seq in claimed):
            told.faults.append("UNKNOWN: claimed before anybody knew whether it happened")
        if claimed and not happened:
            told.faults.append("NOTHING: claimed what did not happen")
        if len(claimed) != happened:
            told.faults.append(f"COUNT: claimed {len(claimed)} times")
        for one in claims[:3]:
            told.met[f"claimed {_given(one)}"] += happened and one.meets(settle)

    await start.play(each(f"late-{number}-{index}") for index in range(ITEMS))
    return told


async def claims_round(load: Load, number: int) -> Told:
    """Have three compensators claim the same undo, some under a lease that ends while they are at it."""
    told, start = Told(), Together(load)

    async def each(run: str, lease: float) -> None:
        token = await _began(load, run)
        await _did(load, token, run, "o-1")
        await _ended(load, run)
        await start.ready()
        racing = [_worker(load, start, run, lease, f"w-{index}") for index in range(3)]
        everybody = await asyncio.gather(*racing)
        worked = [call for calls in everybody for call in calls]
        entries = await _entries(load, run)
        told.faults += _claim_faults(entries, round(lease * 1000))
        told.faults += [
            "STALE: taken from somebody who had lost it"
            for index, calls in enumerate(everybody)
            for call in calls
            if isinstance(call.answer, pb.CompleteDutyResponse)
            and _last_worker(entries, call.answer.seq) != f"compensator:w-{index}"
        ]
        claims = [call for call in worked if isinstance(call.answer, pb.ClaimDutyResponse)]
        for index, one in enumerate(claims):
            told.met[f"claimed {_given(one)}"] += any(
                one.meets(other) for other in claims[:index] + claims[index + 1 :]
            )
        told.met["lost"] += sum(call.reason == "LEASE_LOST" for call in worked)

    await start.play(each(f"claims-{number}-{i}", SHORT if i % 2 else 30) for i in range(ITEMS))
    return told


async def _worker(load: Load, start: Together, run: str, lease: float, name: str) -> list[Call]:
    """Claim until there is something, take some time over it, and say that it is done."""
    calls = [await _after(start, load.compensator.ClaimDuty, claim(run, name, lease))]
    for _ in range(3):
        if _given(calls[-1]) or lease > 1:
            break
        await asyncio.sleep(load.dice.random() * SHORT)
        calls.append(await made(load.compensator.ClaimDuty, claim(run, name, lease)))
    if _given(calls[-1]):
        await asyncio.sleep(load.dice.random() * 2 * min(lease, SHORT))
        done = pb.CompleteDutyRequest(**say.held(calls[-1].answer.duty))
        calls.append(await made(load.compensator.CompleteDuty, done))
    return calls


def _claim_faults(entries: Entries, lease_ms: int) -> Iterable[str]:
    claims = [one for one in entries if one.kind == "CLAIMED"]
    for one, other in itertools.pairwise(claims):
        if other.time.ToMilliseconds() < one.time.ToMilliseconds() + lease_ms:
            yield "TWICE: claimed while somebody else was at it"
    done = [one for one in entries if one.kind == "UNDONE"]
    if len(done) > 1:
        yield "DONE TWICE: told as undone more than once"
    for one in done:
        if any(other.seq > one.seq for other in claims):
            yield "AGAIN: claimed after it was undone"


def _last_worker(entries: Entries, before: int) -> str:
    """Who had claimed it last when this was written."""
    return [str(one.data["worker"]) for one in entries if one.kind == "CLAIMED" and one.seq < before][-1]


async def withdraw_round(load: Load, number: int) -> Told:
    """Take authority back while it is claimed."""
    told, start = Told(), Together(load)

    async def each(run: str) -> None:
        token = await _began(load, run)
        await _did(load, token, run, "o-1")
        await _ended(load, run)
        await start.ready()
        request = control_pb.WithdrawUndoRequest(run_id=run, op_ids=["o-1"])
        withdraw, *claims = await asyncio.gather(
            _after(start, load.operator.WithdrawUndo, request, LATER),
            *(_after(start, load.compensator.ClaimDuty, claim(run)) for _ in range(2)),
        )
        claims.append(await made(load.compensator.ClaimDuty, claim(run)))
        entries = await _entries(load, run)
        (withdrawn,) = _seqs(entries, "UNDO_WITHDRAWN")
        claimed = _seqs(entries, "CLAIMED")
        if any(seq > withdrawn for seq in claimed):
            told.faults.append("WITHDRAWN: claimed after it was taken back")
        if bool(claimed) != withdraw.answer.HasField("busy_until_time"):
            told.faults.append("BUSY: the operator was not told who is still at it")
        for one in claims[:2]:
            told.met[f"claimed {_given(one)}"] += one.meets(withdraw)

    await start.play(each(f"back-{number}-{index}") for index in range(ITEMS))
    return told


async def order_round(load: Load, number: int) -> Told:
    """Ask for the undo of a later effect while the earlier one is claimed."""
    told, start = Told(), Together(load)

    async def each(run: str) -> None:
        token = await _began(load, run)
        for op in ("o-1", "o-2"):
            await _did(load, token, run, op)
        await _ended(load, run, "o-1")
        await start.ready()
        later = control_pb.UndoRunRequest(run_id=run, op_ids=["o-2"])
        asked, *claims = await asyncio.gather(
            _after(start, load.operator.UndoRun, later),
            *(_after(start, load.compensator.ClaimDuty, claim(run)) for _ in range(2)),
        )
        entries = await _entries(load, run)
        earlier = [one.seq for one in entries if one.kind == "CLAIMED" and one.op_id == "o-1"]
        last = _seqs(entries, "UNDO_ASKED")[-1]
        if any(seq > last for seq in earlier):
            told.faults.append("ORDER: an earlier effect was claimed before the last one")
        for one in claims:
            first = _given(one) and one.answer.duty.op_id == "o-1"
            told.met[f"earlier {first}"] += one.meets(asked)

    await start.play(each(f"order-{number}-{index}") for index in range(ITEMS))
    return told


async def cancel_round(load: Load, number: int) -> Told:
    """Cancel a run, or the one above it, while it acts, its undo is asked for, and its job called off."""
    told, start = Told(), Together(load)

    async def each(run: str, above: str) -> None:
        token = await _began(load, run, above)
        await load.tool.PerformAction(say.undoable(token, "o-1", run), timeout=TIMEOUT)
        begun = say.settle(token, "o-1")
        begun.handle, begun.canceller = "job", run
        await load.tool.SettleAction(begun, timeout=TIMEOUT)
        await start.ready()
        stop = pb.ClaimDutyRequest(worker="w", cancellers=[run])
        undo = control_pb.UndoRunRequest(run_id=run)
        cancel, asked, called, _ = await asyncio.gather(
            _after(start, load.operator.CancelRun, say.cancel(above or run), 2 * LATER),
            _after(start, load.operator.UndoRun, undo),
            _after(start, load.compensator.ClaimDuty, stop),
            _after(start, load.tool.PerformAction, say.perform(token, "o-2")),
        )
        last = await made(load.compensator.ClaimDuty, stop)
        entries = await _entries(load, run)
        cut = cancel.answer.report.cut_seq
        if any(seq < cut for seq in _seqs(entries, "UNDO_ASKED")):
            told.faults.append("AT WORK: its undo was asked for before it was stopped")
        if any(seq < cut for seq in _seqs(entries, "CLAIMED")):
            told.faults.append("GOES ON: called off before it was stopped")
        if any(a > b for a in _seqs(entries, "PERMITTED") for b in _seqs(entries, "UNDO_ASKED")):
            told.faults.append("AFTER THE UNDO: a permit came later than the undo")
        if _given(called) + _given(last) != 1:
            told.faults.append("FORGOTTEN: not called off, or twice")
        told.met[f"asked {bool(asked.answer)}"] += asked.meets(cancel)
        told.met[f"called off {_given(called)}"] += called.meets(cancel)

    names = [f"stop-{number}-{index}" for index in range(ITEMS)]
    await start.play((each(run, f"{run}-root" if index % 2 else "") for index, run in enumerate(names)))
    return told


async def resolve_round(load: Load, number: int) -> Told:
    """Have a tool, an operator and a probe say different things of one action at the same moment."""
    told, start = Told(), Together(load)

    async def each(run: str) -> None:
        token = await _began(load, run)
        permit = say.perform(token, "o-1", within=SHORT)
        permit.intent.probe = run
        await load.tool.PerformAction(permit, timeout=TIMEOUT)
        await load.tool.SettleAction(say.settle(token, "o-1", outcome="UNKNOWN"), timeout=TIMEOUT)
        await asyncio.sleep(2 * SHORT)
        asked = pb.ClaimDutyRequest(worker="w", probes=[run])
        duty = (await load.compensator.ClaimDuty(asked, timeout=TIMEOUT)).duty
        await start.ready()
        words = [load.dice.choice((1, 2)) for _ in range(3)]
        names = {1: "SUCCEEDED", 2: "FAILED"}
        answer = pb.CompleteDutyRequest(**say.held(duty), outcome=words[2])
        calls = await asyncio.gather(
            _after(start, load.tool.SettleAction, say.settle(token, "o-1", names[words[0]])),
            _after(start, load.operator.ResolveAction, say.resolve(run, "o-1", names[words[1]])),
            _after(start, load.compensator.CompleteDuty, answer),
        )
        first = [
            index for index, call in enumerate(calls) if call.answer is not None and not call.answer.replayed
        ]
        known = [
            one
            for one in await _entries(load, run)
            if one.kind in ("SETTLED", "RESOLVED") and one.data["outcome"] != "UNKNOWN"
        ]
        agreed = [one.kind for one in known] == ["RESOLVED", "SETTLED"]  # the tool is heard all the same
        if len(first) != len(known) or len(known) != 1 + agreed or (agreed and 0 not in first):
            told.faults.append(f"TWO WORDS: {len(first)} were taken, {len(known)} are on record")
        elif {one.data["outcome"] for one in known} != {names[words[index]] for index in first}:
            told.faults.append("TURNED: what is on record is not what was taken")
        first = [index for index in first if not agreed or index]
        for index in first:
            told.met[("tool", "operator", "probe")[index]] += any(
                calls[index].meets(other) for other in calls[:index] + calls[index + 1 :]
            )

    await start.play(each(f"words-{number}-{index}") for index in range(ITEMS))
    return told


def claim(run: str, worker: str = "w", lease: float = 30) -> pb.ClaimDutyRequest:
    """Claim the undo of a run by the name that only this run's compensation has."""
    return pb.ClaimDutyRequest(worker=worker, compensations=[run], lease=say.seconds(lease))


async def _began(load: Load, run: str, above: str = "") -> str:
    if above:
        await load.grants.OpenRun(say.open_run(above), timeout=TIMEOUT)
    await load.grants.OpenRun(say.open_run(run, above), timeout=TIMEOUT)
    return str((await load.grants.IssueGrant(say.issue(run), timeout=TIMEOUT)).grant_token)


async def _did(load: Load, token: str, run: str, op: str) -> None:
    await load.tool.PerformAction(say.undoable(token, op, run), timeout=TIMEOUT)
    await load.tool.SettleAction(say.settle(token, op), timeout=TIMEOUT)


async def _ended(load: Load, run: str, *ops: str) -> None:
    """Cancel a run and ask for its undo."""
    await load.operator.CancelRun(say.cancel(run), timeout=TIMEOUT)
    await load.operator.UndoRun(control_pb.UndoRunRequest(run_id=run, op_ids=ops), timeout=TIMEOUT)


async def _after(
    start: Together, method: Callable[..., Awaitable[Any]], request: Any, longest: float = JITTER
) -> Call:
    """Call a little after the signal."""
    await start(longest)
    return await made(method, request)


async def _entries(load: Load, run: str) -> Entries:
    request = journal_pb.ListEntriesRequest(run_id=run, page_size=1000)
    return list((await load.journal.ListEntries(request, timeout=TIMEOUT)).entries)


def _seqs(entries: Entries, kind: str) -> list[int]:
    return [one.seq for one in entries if one.kind == kind]


def _given(call: Call) -> bool:
    return call.answer is not None and call.answer.HasField("duty")
