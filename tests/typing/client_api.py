"""The client's types as its users meet them. Never run: mypy reads it in strict mode."""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from typing import Any, assert_type

import countermand
import countermand.sync
from countermand.integrations import prometheus
from countermand.integrations.asgi import RequestBoundary, run_for_request


async def a_story_for_an_event_loop(args: dict[str, object]) -> None:
    """Every step is typed, without a cast."""
    async with countermand.connect("home", timeout=1.0) as cm:
        async with cm.open_run(subject="u-7", agent="mailer", labels={"team": "a"}, ttl="5m") as run:
            assert_type(run.run_id, str)
            with run.grant(scopes=["email.*", countermand.Scope("a.b", max_uses=1)], ttl=60) as grant:
                assert_type(await grant.token(), countermand.SecretToken)
                async with countermand.action("email.send", args=args) as act:
                    async with act.commit(use_within="2s") as permit:
                        assert_type(permit, countermand.Permit)
                        assert_type(permit.remaining, float)
                        act.receipt = "m-1"
                    assert_type(act.settled, countermand.Settled | None)
                async with countermand.perform("email.send") as done:
                    done.failed("mailbox full")
                async with countermand.transaction("crm.update", use_within="5s") as tx:
                    tx.stage(print, "a", end="")
                    tx.stage(asyncio.sleep, 0)
                    tx.stage(asyncio.sleep, "long")  # type: ignore[arg-type]
                    assert_type(tx.results, list[Any])
                async with countermand.staged_file("report.txt", mode=0o644) as file:
                    file.write(b"text")
                    file.write("text")  # type: ignore[call-overload]
                assert_type(await countermand.write_file("report.txt", "text", replace=False), str)
                await countermand.write_file("report.txt", b"", replaced=False)  # type: ignore[call-arg]
                with countermand.delegate(scopes=["email.send"], ttl="30s", sealed=True) as inner:
                    assert_type(inner, countermand.CurrentGrant)
                with countermand.delegate_run(
                    agent="other", scopes=["email.*"], budgets={"tool_calls": 3}
                ) as sub:
                    assert_type(sub.run_id, str)
                    assert_type(await countermand.spend("tokens_out", 12, incurred=True), Mapping[str, int])
            assert_type(await run.cancel(reason="USER_STOP"), countermand.Report)
        assert_type(await cm.auditor.runs(), countermand.RunPage)
        assert_type(
            await cm.operator.cancel("r-1", reason=countermand.StopReason.INCIDENT), countermand.Cancelled
        )


def a_hook_that_is_told(
    event: countermand.ScopeStopped
    | countermand.WorkUnstopped
    | countermand.CommitRefused
    | countermand.SessionChanged,
) -> None:
    """Each event carries why."""
    if isinstance(event, countermand.SessionChanged):
        assert_type(event.is_there, bool)
        return
    if isinstance(event, countermand.CommitRefused):
        assert_type(event.reason, countermand.ErrorReason)
    else:
        assert_type(event.stop, countermand.Stop)


def what_is_told_is_counted() -> None:
    """Both answer how to end it."""
    assert_type(countermand.on_event(a_hook_that_is_told), Callable[[], None])
    assert_type(prometheus.count(), Callable[[], None])


async def a_request_has_its_run(cm: countermand.Client, scope: dict[str, Any]) -> str:
    """What a handler answers within the block is what it answers: the block swallows nothing."""
    async with run_for_request(scope, cm, agent="chat", ttl="2m") as run:
        assert_type(run, countermand.ActiveRun)
        return run.run_id


def an_application_has_a_boundary(
    app: Callable[[Any, Any, Any], Coroutine[Any, Any, None]],
) -> RequestBoundary:
    """Any ASGI application."""
    return RequestBoundary(app)


async def a_person_who_is_asked(cm: countermand.Client, args: dict[str, object]) -> None:
    """Costs, budgets, approvals and fences are typed, too."""
    usd = countermand.Budget(5, on_exhausted="REFUSE")
    async with cm.open_run(agent="payer", budgets={"tool_calls": 100, "usd": usd}) as run:
        assert_type(run.opened.budgets["usd"].remaining, int)
        with run.grant(scopes=[countermand.Scope("*", approval_from=countermand.Reversibility.IRREVERSIBLE)]):
            async with countermand.action(
                "payment.send", args=args, costs={"usd": 3}, summary="pay", approval_timeout="10m"
            ) as act:
                assert_type(act.approval, countermand.Approval | None)
                assert_type(act.remaining["usd"], int)
                assert_type(act.args, Mapping[str, object])
    [asked] = (await cm.operator.approvals()).approvals
    assert_type(asked, countermand.PendingApproval)
    agreed = await cm.operator.approve(
        asked.run_id, asked.op_id, digest=asked.digest, amendment={"amount": 1}
    )
    assert_type(agreed, countermand.ActionApproved)
    assert_type(await cm.operator.deny(asked.run_id, asked.op_id), countermand.ActionDenied)
    over = countermand.Selector(agent="payer", action="payment.*")
    assert_type(await cm.operator.revoke(over, reason="INCIDENT", dry_run=True), countermand.FenceSet)
    frozen = await cm.operator.freeze(over, reason=countermand.StopReason.INCIDENT, ttl="1h")
    assert_type(frozen.fence, countermand.Fence | None)
    assert_type(await cm.operator.lift("f-1"), countermand.FenceLifted)
    assert_type(await cm.auditor.fences(standing_only=True), tuple[countermand.Fence, ...])
    assert_type(await cm.auditor.get_fence("f-1"), countermand.FenceStanding)
    assert_type(await cm.auditor.why("r-1", op_id="o-1"), countermand.Explanation)
    assert_type((await cm.auditor.report("r-1", at_seq=3)).heads, tuple[countermand.SignedHead, ...])
    assert_type(await cm.issuer.evidence_keys(), tuple[countermand.EvidenceKey, ...])
    assert_type(await cm.auditor.head("_fences"), countermand.SignedHead)
    async for entry in cm.auditor.watch("r-1"):
        assert_type(entry, countermand.Entry)


def a_story_that_blocks(args: dict[str, object]) -> None:
    """The same names, the same shapes, nothing to await."""
    with countermand.sync.connect(target="127.0.0.1:7420") as cm:
        with cm.open_run(agent="mailer") as run, run.grant(scopes=["*"]):
            with countermand.sync.action("email.send", args=args) as act, act.commit() as permit:
                assert_type(permit, countermand.Permit)
            assert_type(run.report(), countermand.Report)
            assert_type(countermand.sync.spend("tokens_out", 12), Mapping[str, int])
            with run.child(agent="other") as child:
                assert_type(child, countermand.sync.ActiveRun)
        assert_type(cm.issuer.open(), countermand.sync.Opened)


@countermand.tool("email.send", resource=lambda to: f"mailto:{to}", receipt=str)
async def send(to: str) -> int:
    """Keep its signature."""
    return 1


@countermand.tool("email.send", args=lambda to: {"to": to})
def send_now(to: str) -> int:
    """Keep its signature."""
    return 1


async def a_decorated_function_keeps_its_signature() -> None:
    """Arguments are checked, results are known."""
    assert_type(await send("a"), int)
    assert_type(send_now("a"), int)
    await send(1)  # type: ignore[arg-type]
    send_now()  # type: ignore[call-arg]
    kept: Callable[[str], Any] = send
    assert_type(kept("a"), Any)


registry = countermand.Registry()


@countermand.tool(
    "job.start",
    compensation="job.remove",
    compensation_args=lambda to: {"to": to},
    undo_with=lambda job: {"job": job},
    accepted=str,
    canceller="job.cancel",
    probe="job.status",
)
def start(to: str) -> int:
    """Say what undoes it, who calls it off, and who knows what became of it."""
    return 1


@registry.compensation("job.remove")
async def remove(duty: countermand.Duty) -> str:
    """Keep its signature, too."""
    assert_type(duty.args, Mapping[str, object])
    assert_type(duty.is_held, bool)
    return duty.key


@registry.canceller("job.cancel")
def cancel(duty: countermand.Duty) -> countermand.Refused | None:
    """Answer that it is called off, or will not be."""
    return countermand.Refused("it is done") if duty.attempt > 1 else None


@countermand.probe("job.status")
def status(duty: countermand.Duty) -> countermand.Finding | None:
    """Answer only what is known."""
    return countermand.Finding("SUCCEEDED", evidence=f"{duty.handle} is listed as done")


async def what_was_done_is_undone(cm: countermand.Client) -> None:
    """By an operator who asks, and a compensator that does it."""
    removed: Callable[[countermand.Duty], Coroutine[Any, Any, str]] = remove
    assert_type(removed, Callable[[countermand.Duty], Coroutine[Any, Any, str]])
    asked = await cm.operator.undo_run("r-1", op_ids=["o-1"], note="wrong file", dry_run=True)
    assert_type(asked.steps, tuple[countermand.UndoStep, ...])
    assert_type(await cm.operator.withdraw_undo("r-1", ["o-1"]), countermand.UndoWithdrawn)
    resolved = await cm.operator.resolve("r-1", "o-1", "FAILED", evidence="it is not there")
    assert_type(resolved, countermand.ActionResolved)
    worker = countermand.compensator(registry, client=cm, workers=2, lease="30s")
    assert_type(await worker.run(), None)
    assert_type(await cm.compensator.claim(compensations=["job.remove"]), countermand.Duty | None)
    countermand.sync.compensator(registry).run_until_idle()
    async with countermand.perform("job.start", compensation="job.remove", probe="job.status") as act:
        act.undo_with(job=17)
        act.accepted(handle=17, canceller="job.cancel")


async def fetch(url: str, tries: int = 1) -> bytes:
    """Work on an event loop."""
    return url.encode() * tries


async def ask() -> str:
    """One way to a result."""
    return ""


def crawl(token: countermand.CancellationToken, url: str) -> int:
    """Work in a thread."""
    token.check()
    return len(url)


def factor(number: int) -> list[int]:
    """Work in a process."""
    return [number]


async def work_has_an_owner() -> None:
    """What is started, stopped and looked at; wrong arguments are errors."""
    async with countermand.scope("agent", timeout="5m", grace=1.0) as scope:
        assert_type(scope, countermand.WorkScope)
        assert_type(scope.spawn(fetch, "a", kind="tool"), countermand.Work[bytes])
        assert_type(await scope.background(fetch, "a", 2), bytes)
        assert_type(await scope.run_in_thread(crawl, "a"), int)
        assert_type(await scope.offload(factor, 12), list[int])
        assert_type(await scope.pool(4).spawn(fetch, "a"), bytes)
        assert_type(await scope.race(ask, ask), str)
        assert_type(await scope.hedge(ask, after="1s"), str)
        assert_type(await scope.retry(ask, attempts=2), str)
        scope.defer(print, "done")
        scope.defer(fetch, "a", limit="1s")
        scope.spawn(fetch)  # type: ignore[arg-type]
        scope.run_in_thread(factor, 12)  # type: ignore[arg-type]
        scope.spawn(fetch, "a", kind="network")  # type: ignore[arg-type]
        receipt = await scope.cancel("BUDGET", note="50 cents")
        assert_type(receipt, countermand.StopReceipt)
        assert_type(receipt.not_stopped, tuple[countermand.WorkNode, ...])
        assert_type(scope.tree(), countermand.WorkNode)
    with countermand.sync.scope("agent", timeout="5m") as blocking:
        assert_type(blocking.spawn(crawl, "a").result("1s"), int)
        assert_type(blocking.offload(factor, 12).result(), list[int])
        assert_type(blocking.cancel("BUDGET"), countermand.StopReceipt)
        blocking.spawn(factor, 12)  # type: ignore[arg-type]
    stop = countermand.Stop(countermand.StopReason.INCIDENT, actor="ops")
    assert_type(scope.cancel_threadsafe(stop).result(1), countermand.StopReceipt)


def a_caller_handles_errors(error: countermand.CountermandError) -> str:
    """By what to do next."""
    match error:
        case countermand.Revoked(stop_reason=reason):
            assert_type(reason, countermand.StopReason)
            return reason
        case countermand.Stopped(stop=stop):
            assert_type(stop, countermand.Stop)
            return stop.reason
        case countermand.Fenced(fence_id=fence):
            assert_type(fence, str)
            return fence
        case countermand.BudgetExhausted(remaining=left):
            assert_type(left, int)
            return error.reason
        case countermand.StopTheRun() | countermand.TryAgain():
            return error.reason
        case _:
            return error.metadata.get("run", "")


countermand.connect(host="localhost")  # type: ignore[call-arg]
countermand.Permit("o-1", 1)  # type: ignore[call-arg]


async def streams_of_both_kinds(
    cm: countermand.Client, chunks: AsyncIterable[bytes], blocking: Iterable[str]
) -> None:
    """A guarded stream hands on what its stream says."""
    async with cm.open_run() as run, countermand.guard(chunks, until=run) as guarded:
        async for chunk in guarded:
            assert_type(chunk, bytes)
    assert_type(guarded.partial, list[bytes])
    assert_type(guarded.stop, countermand.Stop | None)
    assert_type(guarded.usage, countermand.Usage | None)
    with countermand.sync.guard(blocking, until=countermand.CancellationToken()) as other:
        assert_type(list(other), list[str])


async def what_models_take(run: countermand.ActiveRun, answer: object, chunks: AsyncIterable[bytes]) -> None:
    """Token budgets, and what they are told."""
    price = countermand.Price(input=3, output=15, cached=0.3)
    tokens = countermand.token_budget(run, price=price, limits={"tokens_out": 2000})
    async with tokens.request(4096, input=120, least=10) as request:
        assert_type(request.max_tokens, int)
        assert_type(await request.take(answer), countermand.Usage)
        assert_type(countermand.guard(chunks, tokens=request).took, countermand.Usage | None)
    assert_type(countermand.guard(chunks, tokens=tokens), countermand.GuardedStream[bytes])
    assert_type(await tokens.take(answer), countermand.Usage)
    assert_type(tokens.left, Mapping[str, int])
    assert_type(countermand.usage_of(answer), countermand.Usage | None)
    with countermand.sync.token_budget(shared=False, count=len).request(4096) as blocking:
        assert_type(blocking.max_tokens, int)
