"""Races over authority: delegating, issuing, approving and spending, each against what takes it away.

Every round answers with what was wrong and what it met. Times are nanoseconds of one monotonic clock:
`invoke` is taken before a call, `back` after its answer. Numbers are the store's: a permit has one, and so
has whatever stops it, so which came first is not a matter of anybody's clock.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from tests.races.load import JITTER, TIMEOUT, Load
from tests.support import messages as say

#: How many grants are delegated at once while their run is cancelled.
FAN = 100
#: How many grants are issued while a fence is set, and how many were issued before.
ISSUED, BEFORE = 40, 40
#: How many actions wait for a person in one round.
WAITING = 50
#: What 1,000 takers compete for.
TAKERS, PORTIONS = 1000, 10

INCIDENT = errors_pb2.STOP_REASON_INCIDENT


@dataclass
class Told:
    """What a round found wrong, and what it met."""

    faults: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Call:
    """A call and its answer, or the reason of its refusal."""

    invoke: int
    back: int
    answer: Any = None
    reason: str = ""

    def meets(self, other: "Call") -> bool:
        """Say whether both were under way at the same time."""
        return self.invoke <= other.back and other.invoke <= self.back


async def made(method: Callable[..., Awaitable[Any]], request: Any) -> Call:
    """Make a call."""
    invoke = time.monotonic_ns()
    try:
        answer = await method(request, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        return Call(invoke, time.monotonic_ns(), reason=say.refusal_of(error).reason or error.code().name)
    return Call(invoke, time.monotonic_ns(), answer)


class Start:
    """A signal on which everybody waits, each then a little longer by himself."""

    def __init__(self, load: Load) -> None:
        self._load, self._event = load, asyncio.Event()

    async def __call__(self, longest: float = JITTER) -> None:
        """Wait for it."""
        await self._event.wait()
        await asyncio.sleep(self._load.dice.random() * longest)

    async def go(self, racers: Iterable[Awaitable[Any]]) -> list[Any]:
        """Let everybody go."""
        tasks = [asyncio.ensure_future(one) for one in racers]
        await asyncio.sleep(0)
        self._event.set()
        return await asyncio.gather(*tasks)


async def delegate_round(load: Load, number: int) -> Told:
    """Hand a grant on a hundred ways, half of them to new runs, while its run is cancelled."""
    run, told, start = f"fan-{number}", Told(), Start(load)
    await load.grants.OpenRun(say.open_run(run), timeout=TIMEOUT)
    top = (await load.grants.IssueGrant(say.issue(run), timeout=TIMEOUT)).grant_token

    async def hand_on(index: int) -> tuple[Call, Call | None]:
        await start(load.crowd)
        return await _handed_on(load, top, index)

    async def stop() -> Call:
        await start(load.crowd)
        return await made(load.operator.CancelRun, say.cancel(run))

    began = time.monotonic()
    *fan, cancel = await start.go([*(hand_on(index) for index in range(FAN)), stop()])
    load.crowd += (time.monotonic() - began - load.crowd) / 8
    late = [await _handed_on(load, top, FAN + index) for index in range(3)]
    tokens = [given.answer.grant_token for given, _ in fan if given.answer]
    again = [await made(next(load.tools).PerformAction, say.perform(token, "again")) for token in tokens]
    report = await load.journal.GetReport(journal_pb.GetReportRequest(run_id=run), timeout=TIMEOUT)
    listed = [one for part in say.PERMITTED_PARTS for one in getattr(report.report, part)]
    fences = {one.fence for one in listed}
    for given, used in [*fan, *late]:
        told.met[f"delegated {bool(given.answer)}"] += given.meets(cancel)
        if given.answer and given.invoke > cancel.back:
            told.faults.append("DELEGATED LATE: after the cancel was answered")
        if not given.answer and given.reason != "REVOKED":
            told.faults.append(f"REASON: a delegation was refused as {given.reason}")
        if used and used.answer:
            told.faults += _permit_faults(used, cancel, report.report.cut_seq, fences)
    told.faults += ["LATE: a child's commit after the cancel" for one in again if one.answer]
    return told


async def _handed_on(load: Load, top: str, index: int) -> tuple[Call, Call | None]:
    child = {"child_run": grant_pb.ChildRun(agent="helper")} if index % 2 else {}
    request = grant_pb.DelegateGrantRequest(
        grant_token=top,
        request_id=f"g-{load.dice.getrandbits(60):x}",
        scopes=[grant_pb.Scope(action="*")],
        **child,
    )
    tool = next(load.tools)
    given = await made(load.delegating(tool), request)
    if not given.answer:
        return given, None
    return given, await made(tool.PerformAction, say.perform(given.answer.grant_token, f"act-{index}"))


def _permit_faults(used: Call, cancel: Call, cut: int, fences: set[int]) -> list[str]:
    fence, found = used.answer.permit.fence, []
    if used.invoke > cancel.back:
        found.append("LATE: a child's commit after the cancel was answered")
    if fence > cut:
        found.append(f"AFTER THE CUT: number {fence}, the cut {cut}")
    if fence not in fences:
        found.append(f"UNLISTED: number {fence} is not in the report")
    return found


async def extend_round(load: Load, number: int) -> Told:
    """Let a grant last longer a hundred times while its run is cancelled."""
    run, told, start = f"longer-{number}", Told(), Start(load)
    await load.grants.OpenRun(say.open_run(run), timeout=TIMEOUT)
    token = (await load.grants.IssueGrant(say.issue(run), timeout=TIMEOUT)).grant_token

    async def extend(index: int) -> Call:
        await start(load.crowd)
        asked = grant_pb.ExtendGrantRequest(grant_token=token, ttl={"seconds": 400 + index})
        return await made(load.grants.ExtendGrant, asked)

    async def stop() -> Call:
        await start(load.crowd)
        return await made(load.operator.CancelRun, say.cancel(run))

    began = time.monotonic()
    *fan, cancel = await start.go([*(extend(index) for index in range(FAN)), stop()])
    load.crowd += (time.monotonic() - began - load.crowd) / 8
    late = [await extend(FAN + index) for index in range(3)]
    request = journal_pb.ListEntriesRequest(run_id=run, page_size=1000)
    entries = (await load.journal.ListEntries(request, timeout=TIMEOUT)).entries
    cut = cancel.answer.report.cut_seq
    told.faults += [
        f"AFTER THE CUT: extended by entry {one.seq}, the cut {cut}"
        for one in entries
        if one.kind == "EXTENDED" and one.seq > cut
    ]
    for one in [*fan, *late]:
        told.met[f"extended {bool(one.answer)}"] += one.meets(cancel)
        if one.answer and one.invoke > cancel.back:
            told.faults.append("EXTENDED LATE: after the cancel was answered")
        if not one.answer and one.reason != "REVOKED":
            told.faults.append(f"REASON: an extension was refused as {one.reason}")
    return told


async def fence_round(load: Load, number: int) -> Told:
    """Issue grants for a tenant and use them while a fence is set over it; each second one is a freeze."""
    run, tenant, told, start = f"fence-{number}", f"t-{number}", Told(), Start(load)
    asked = grant_pb.OpenRunRequest(run_id=run, tenant=tenant, agent="mailer")
    await load.grants.OpenRun(asked, timeout=TIMEOUT)
    old = [(await load.grants.IssueGrant(say.issue(run), timeout=TIMEOUT)) for _ in range(BEFORE)]

    async def use_old(index: int) -> Call:
        await start(load.crowd)
        return await made(next(load.tools).PerformAction, say.perform(old[index].grant_token, f"old-{index}"))

    async def issue_and_use(index: int) -> tuple[Call, Call | None]:
        await start(load.crowd)
        return await _issued(load, run, f"new-{index}")

    async def stop() -> Call:
        await start(load.crowd)
        named = journal_pb.Selector(tenant=tenant)
        told = {"request_id": f"f-{number}", "selector": named, "reason": INCIDENT}
        if number % 2:
            return await made(load.operator.FreezeGrants, control_pb.FreezeGrantsRequest(**told))
        return await made(load.operator.RevokeGrants, control_pb.RevokeGrantsRequest(**told))

    racers = [
        *(use_old(index) for index in range(BEFORE)),
        *(issue_and_use(index) for index in range(ISSUED)),
    ]
    began = time.monotonic()
    *raced, fence = await start.go([*racers, stop()])
    load.crowd += (time.monotonic() - began - load.crowd) / 8
    assert fence.answer, fence.reason
    late = [await made(next(load.tools).PerformAction, say.perform(one.grant_token, "late")) for one in old]
    told.faults += ["LATE: a commit under an old grant" for one in late if one.answer]
    told.faults += [f"REASON: {one.reason}" for one in late if one.reason != "FENCED"]
    afterwards = await _issued(load, run, "after")
    if bool(afterwards[0].answer) == bool(number % 2):
        told.faults.append("ISSUED: after the fence, against its kind")
    elif afterwards[1] and not afterwards[1].answer:
        told.faults.append(f"DEAD: a grant issued after a revoke was refused as {afterwards[1].reason}")
    for given, used in raced[BEFORE:]:
        told.met[f"issued {bool(given.answer)}"] += given.meets(fence)
        if used and used.answer and given.back < fence.invoke and used.invoke > fence.back:
            told.faults.append("LATE: a commit under a grant issued before")
    for one in raced[:BEFORE]:
        told.met[f"used {bool(one.answer)}"] += one.meets(fence)
    told.faults += await _number_faults(load, run, fence.answer.fence.seq)
    # A fence counts what it hits among all active runs: those of earlier rounds would only take time.
    await load.grants.FinishRun(grant_pb.FinishRunRequest(run_id=run), timeout=TIMEOUT)
    return told


async def _issued(load: Load, run: str, op: str) -> tuple[Call, Call | None]:
    given = await made(load.grants.IssueGrant, say.issue(run))
    if not given.answer:
        return given, None
    return given, await made(next(load.tools).PerformAction, say.perform(given.answer.grant_token, op))


async def _number_faults(load: Load, run: str, fence_seq: int) -> list[str]:
    """Hold the journal against the fence: no permit above its number for a grant below it."""
    request = journal_pb.ListEntriesRequest(run_id=run, page_size=1000)
    entries = (await load.journal.ListEntries(request, timeout=TIMEOUT)).entries
    issued = {one.data["grant"]: one.seq for one in entries if one.kind == "ISSUED"}
    under = {one.op_id: one.data["grant"] for one in entries if one.kind == "PREPARED"}
    return [
        f"AFTER THE FENCE: permit {one.seq} under grant {issued[under[one.op_id]]}, fence {fence_seq}"
        for one in entries
        if one.kind == "PERMITTED" and issued[under[one.op_id]] < fence_seq < one.seq
    ]


async def approval_round(load: Load, number: int) -> Told:
    """Approve, withdraw and commit the same actions at the same moment."""
    run, told, start = f"ask-{number}", Told(), Start(load)
    await load.grants.OpenRun(say.open_run(run), timeout=TIMEOUT)
    scope = grant_pb.Scope(action="*", approval_from=action_pb.REVERSIBILITY_READ_ONLY)
    asked = grant_pb.IssueGrantRequest(run_id=run, scopes=[scope])
    token = (await load.grants.IssueGrant(asked, timeout=TIMEOUT)).grant_token
    ops = [f"o-{index}" for index in range(WAITING)]
    await asyncio.gather(
        *(next(load.tools).PrepareAction(say.prepare(token, op), timeout=TIMEOUT) for op in ops)
    )

    async def each(op: str) -> tuple[Call, Call, list[Call]]:
        approve = control_pb.ApproveActionRequest(run_id=run, op_id=op, digest=say.DIGEST)
        deny = control_pb.DenyActionRequest(run_id=run, op_id=op)

        async def after(longest: float, method: Callable[..., Awaitable[Any]], request: Any) -> Call:
            await asyncio.sleep(load.dice.random() * longest)
            return await made(method, request)

        await start(load.crowd)
        tool = next(load.tools)
        said = [after(JITTER / 4, load.operator.ApproveAction, approve)]
        said += [after(JITTER, load.operator.DenyAction, deny)]
        commits = [after(JITTER, tool.CommitAction, say.commit(token, op)) for _ in range(2)]
        approved, denied, *tried = await asyncio.gather(*said, *commits)
        return approved, denied, [*tried, await made(tool.CommitAction, say.commit(token, op))]

    began = time.monotonic()
    for approved, denied, tried in await start.go([each(op) for op in ops]):
        told.faults += _approval_faults(approved, denied, tried)
        outcome = (
            "denied" if denied.answer else "permitted" if any(one.answer for one in tried) else "neither"
        )
        told.met[outcome] += any(one.meets(denied) for one in tried[:2])
    load.crowd += (time.monotonic() - began - load.crowd) / 8
    return told


def _approval_faults(approved: Call, denied: Call, tried: list[Call]) -> list[str]:
    permits = [one.answer.permit for one in tried if one.answer]
    found = []
    if permits and denied.answer:
        found.append(f"WITHDRAWN: denied at {denied.answer.seq} and permitted at {permits[0].fence}")
    if permits and not (approved.answer and approved.answer.seq < permits[0].fence):
        found.append("UNASKED: permitted without an approval before it")
    if len({one.fence for one in permits}) > 1 or sum(not one.replayed for one in permits) > 1:
        found.append("TWICE: more than one permit for one approval")
    if not permits and not denied.answer and denied.reason != "ALREADY_PERMITTED":
        found.append(f"REASON: a denial was refused as {denied.reason}")
    return found


async def budget_round(load: Load, number: int) -> Told:
    """Let a thousand take from a budget of ten, in a tree of runs and grants, by two verbs."""
    run, told = f"purse-{number}", Told()
    ends = number % 2
    policy = grant_pb.EXHAUSTION_CANCEL if ends else grant_pb.EXHAUSTION_REFUSE
    budget = grant_pb.Budget(name="coins", limit=PORTIONS, on_exhausted=policy)
    opened = grant_pb.OpenRunRequest(run_id=run, agent="payer", budgets=[budget])
    await load.grants.OpenRun(opened, timeout=TIMEOUT)
    top = (await load.grants.IssueGrant(say.issue(run), timeout=TIMEOUT)).grant_token
    tokens = [top]
    for index in range(4):
        child = {"child_run": grant_pb.ChildRun(agent="helper")} if index % 2 else {}
        scopes = [grant_pb.Scope(action="*")]
        asked = grant_pb.DelegateGrantRequest(
            grant_token=top, request_id=f"{run}-{index}", scopes=scopes, **child
        )
        tokens.append((await load.delegating(next(load.tools))(asked, timeout=TIMEOUT)).grant_token)

    async def take(index: int) -> Call:
        token, tool = tokens[index % len(tokens)], next(load.tools)
        if index % 2:
            request = action_pb.SpendBudgetRequest(
                grant_token=token, op_id=f"s-{index}", budget="coins", amount=1
            )
            return await made(tool.SpendBudget, request)
        paid = say.perform(token, f"p-{index}")
        paid.intent.costs["coins"] = 1
        return await made(tool.PerformAction, paid)

    calls = await asyncio.gather(*(take(index) for index in range(TAKERS)))
    taken = sum(1 for one in calls if one.answer)
    reasons = Counter(one.reason for one in calls if not one.answer)
    told.met.update({"taken": taken, "refused": TAKERS - taken})
    if taken != PORTIONS:
        told.faults.append(f"RICHER: {taken} of {PORTIONS} were taken")
    if not reasons.keys() <= ({"BUDGET_EXHAUSTED", "REVOKED"} if ends else {"BUDGET_EXHAUSTED"}):
        told.faults.append(f"REASON: {reasons}")
    got = await load.journal.GetRun(journal_pb.GetRunRequest(run_id=run), timeout=TIMEOUT)
    if (got.run.end.reason == errors_pb2.STOP_REASON_BUDGET) != bool(ends):
        told.faults.append("END: the run did not end as its budget says")
    return told
