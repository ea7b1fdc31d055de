"""Tasks, threads and cancelled tasks: what only the async client meets, and what the two meet together."""

import asyncio
import threading
import traceback
from collections.abc import Callable

import grpc
import pytest

import countermand
import countermand.sync
from countermand.testing import Sidecar
from tests.client.support import Proxy, lose_request, then

State = countermand.ActionState


async def states(run: countermand.ActiveRun) -> list[tuple[countermand.ActionState, str]]:
    """State and note of every action of a run that is not pending."""
    report = await run.report()
    parts = (report.done, report.interrupted, report.in_flight, report.unknown, report.not_done)
    return [(action.state, action.note) for part in parts for action in part]


async def test_many_tasks_that_begin_at_once_issue_one_grant(proxy: Proxy) -> None:
    """The first that needs it asks; the others wait for the answer."""

    async def act() -> None:
        async with countermand.perform("email.send"):
            pass

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            await asyncio.gather(*(act() for _ in range(10)))

    assert proxy.calls.count("IssueGrant") == 1
    assert proxy.calls.count("PerformAction") == 10


def test_many_threads_that_begin_at_once_issue_one_grant(proxy: Proxy) -> None:
    """The same for code that blocks."""
    barrier = threading.Barrier(8)

    def act(grant: countermand.sync.CurrentGrant) -> None:
        barrier.wait(10)
        with grant, countermand.sync.perform("email.send"):
            pass

    with countermand.sync.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        grant = run.grant(scopes=["*"])
        threads = [threading.Thread(target=act, args=(grant,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert proxy.calls.count("IssueGrant") == 1
    assert proxy.calls.count("PerformAction") == 8


async def test_a_task_acts_under_the_grant_it_was_started_under(real: Sidecar) -> None:
    """Each task has its own current grant; what one enters, another does not see."""
    entered, seen = asyncio.Event(), asyncio.Event()

    async def other(run: countermand.ActiveRun) -> countermand.CurrentGrant:
        with run.grant(scopes=["b.*"]) as grant:
            entered.set()
            await seen.wait()
            assert countermand.current_grant() is grant
        return countermand.current_grant()

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["a.*"]) as outer:
            task = asyncio.create_task(other(run))
            await entered.wait()
            assert countermand.current_grant() is outer
        seen.set()

        assert await task is outer


async def test_a_blocking_tool_in_a_thread_acts_under_the_agents_grant(real: Sidecar) -> None:
    """asyncio.to_thread carries the grant along; the thread has a blocking connection of its own."""

    def send() -> str:
        with countermand.sync.perform("email.send") as act:
            act.receipt = threading.current_thread().name
        return act.op_id

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            op_id = await asyncio.to_thread(send)
        [done] = (await run.report()).done

    assert done.op_id == op_id
    assert done.receipt != threading.current_thread().name


async def test_a_plain_thread_has_no_grant(real: Sidecar) -> None:
    """Python does not carry the context into it, and the message says what does."""
    caught = []

    def send() -> None:
        try:
            countermand.sync.perform("email.send")
        except countermand.NoGrant as error:
            caught.append(str(error))

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            thread = threading.Thread(target=send)
            thread.start()
            await asyncio.to_thread(thread.join)

    assert "asyncio.to_thread does" in caught[0]


async def test_the_twin_is_closed_with_its_owner(real: Sidecar) -> None:
    """There is one for each client, and it lives no longer."""
    cm = countermand.connect(real.home)
    twin = cm.twin(countermand.sync.Client)
    assert cm.twin(countermand.sync.Client) is twin
    await cm.close()

    with pytest.raises(countermand.FixTheCall, match="closed"):
        twin.issuer.open()
    with pytest.raises(countermand.FixTheCall, match="closed"):
        cm.twin(countermand.sync.Client)


async def test_an_async_tool_does_not_run_under_the_blocking_client(real: Sidecar) -> None:
    """Its loop would belong to nobody; the message says what to use."""

    def drive() -> None:
        with countermand.sync.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
            with run.grant(scopes=["*"]):
                countermand.action("email.send")

    with pytest.raises(countermand.FixTheCall, match="under a grant of the blocking client"):
        await asyncio.to_thread(drive)


async def test_a_task_cancelled_in_the_commit_block_leaves_the_outcome_unknown(real: Sidecar) -> None:
    """The settle goes on although its task is cancelled: what is unknown is on record as unknown."""
    inside = asyncio.Event()

    async def send() -> None:
        async with countermand.perform("email.send"):
            inside.set()
            await asyncio.sleep(60)

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            task = asyncio.create_task(send())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert await states(run) == [(State.UNKNOWN, "left by CancelledError")]


async def test_a_second_cancel_lets_the_task_go_and_the_settle_go_on(proxy: Proxy) -> None:
    """Closing the client waits for it, so the outcome is on record in the end."""
    inside, settling, go_on = asyncio.Event(), threading.Event(), threading.Event()

    def lose_it_late(ask: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
        settling.set()
        go_on.wait(10)
        return lose_request(ask, context)  # so that the task has to be there still, to try again

    proxy.plan("SettleAction", lose_it_late)

    async def send() -> None:
        async with countermand.perform("email.send"):
            inside.set()
            await asyncio.sleep(60)

    async with countermand.connect(proxy.home) as cm:
        run_id = (await cm.issuer.open()).run.run_id
        token = (await cm.issuer.issue(run_id, scopes=["*"])).token
        with cm.use_token(token):
            task = asyncio.create_task(send())
            await inside.wait()
            task.cancel()
            assert await asyncio.to_thread(settling.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    async with countermand.connect(proxy.home) as cm:
        [unknown] = (await cm.auditor.report(run_id)).unknown
    assert unknown.note == "left by CancelledError"


async def test_a_task_cancelled_while_it_waits_for_its_permit_does_not_act(proxy: Proxy) -> None:
    """The permit was given and nobody took it: settled as not done."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    proxy.plan(
        "CommitAction", then(lambda: (loop.call_soon_threadsafe(asked.set), threading.Event().wait(0.2)))
    )

    async def send() -> None:
        async with countermand.action("email.send") as act, act.commit():
            pytest.fail("acted after it was cancelled")

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            task = asyncio.create_task(send())
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert await states(run) == [(State.FAILED, "the permit did not reach the tool")]


async def test_two_tasks_cannot_share_a_permit(proxy: Proxy) -> None:
    """While one asks, the other is refused: a permit is for one effect, whoever's answer was lost."""
    asked, bodies = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    proxy.plan(
        "CommitAction", then(lambda: (loop.call_soon_threadsafe(asked.set), threading.Event().wait(0.2)))
    )

    async def send(act: countermand.Action) -> None:
        async with act.commit():
            bodies.append(act)

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            async with countermand.action("email.send") as act:
                first = asyncio.create_task(send(act))
                await asked.wait()
                with pytest.raises(countermand.AlreadyPermitted, match="for one effect"):
                    await send(act)
                await first

    assert len(bodies) == 1


async def test_a_cancelled_agent_cancels_its_run(real: Sidecar) -> None:
    """Whoever the run worked for went away; the cancel goes on although the task does not."""
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def drive() -> None:
        async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
            opened.set_result(run.run_id)
            await asyncio.sleep(60)

    task = asyncio.create_task(drive())
    run_id = await opened
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with countermand.connect(real.home) as cm:
        end = (await cm.auditor.run(run_id)).end
    assert end is not None
    assert (end.reason, end.note) == (countermand.StopReason.CLIENT_DISCONNECTED, "left by CancelledError")


async def test_a_run_whose_opening_is_cancelled_stays_closed(proxy: Proxy) -> None:
    """It may have been opened, so it is cancelled; had it not been, it never can be."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    proxy.plan("OpenRun", then(lambda: (loop.call_soon_threadsafe(asked.set), threading.Event().wait(0.2))))

    async def drive(run: countermand.ActiveRun) -> None:
        async with run:
            pytest.fail("went on after it was cancelled")

    async with countermand.connect(proxy.home) as cm:
        run = cm.open_run(agent="mailer")
        task = asyncio.create_task(drive(run))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await cm.auditor.run(run.run_id)).state is countermand.RunState.CANCELLED


async def test_no_frame_of_a_failed_call_holds_the_token(proxy: Proxy) -> None:
    """A crash reporter that shows local variables does not show it."""
    async with countermand.connect(proxy.home) as cm:
        run_id = (await cm.issuer.open()).run.run_id
        token = (await cm.issuer.issue(run_id, scopes=["a.*"])).token
        intent = countermand.Intent.of("b.c")
        with pytest.raises(countermand.OutOfScope) as caught:
            await cm.tool.prepare(token, intent)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "SecretToken(redacted)" in shown
    assert token.reveal() not in shown
    assert token.reveal().split(".")[1] not in shown


#: With the guard taken out, the permit reaches the worker after all: what the tests below can see.
NOT_GUARDED = {True: None, False: lambda act, permit: setattr(act, "permit", permit) or True}


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("op_id", [None, "mail-1"])
async def test_a_permit_that_comes_after_its_block_was_left_reaches_no_task(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, guarded: bool, op_id: str | None
) -> None:
    """Whoever leaves the block says that it did not happen, so another task that waits must not act."""
    if not guarded:
        monkeypatch.setattr(countermand.Action, "_hand_over", NOT_GUARDED[guarded])
    permitted, go_on, bodies = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()
    proxy.plan("CommitAction", then(lambda: (loop.call_soon_threadsafe(permitted.set), go_on.wait(10))))

    async def send(act: countermand.Action) -> None:
        async with act.commit():
            bodies.append(act.op_id)

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(ValueError, match="left"):
                async with countermand.action("email.send", op_id=op_id) as act:
                    worker = asyncio.create_task(send(act))
                    await permitted.wait()
                    raise ValueError("left")
            go_on.set()
            [outcome] = await asyncio.gather(worker, return_exceptions=True)

        if guarded:
            assert isinstance(outcome, countermand.AlreadyPermitted)
            assert "its block was left" in str(outcome)
            assert (bodies, act.permit, act.unsettled) == ([], None, None)
            assert await states(run) == [(State.FAILED, "the permit did not reach the tool")]
        else:
            assert (len(bodies), outcome) == (1, None)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_permit_that_comes_after_its_block_was_left_reaches_no_thread(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The same for threads."""
    if not guarded:
        monkeypatch.setattr(countermand.sync.Action, "_hand_over", NOT_GUARDED[guarded])
    permitted, go_on, bodies, refused = threading.Event(), threading.Event(), [], []
    proxy.plan("CommitAction", then(lambda: (permitted.set(), go_on.wait(10))))

    def send(act: countermand.sync.Action) -> None:
        try:
            with act.commit():
                bodies.append(act.op_id)
        except countermand.AlreadyPermitted as error:
            refused.append(str(error))

    with countermand.sync.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            with countermand.sync.action("email.send") as act:
                worker = threading.Thread(target=send, args=(act,))
                worker.start()
                assert permitted.wait(10)
            go_on.set()
            worker.join(10)
        report = run.report()

    assert (len(bodies), len(refused)) == ((0, 1) if guarded else (1, 0))
    [failed] = report.not_done
    assert (failed.state, failed.note) == (State.FAILED, "the permit did not reach the tool")


async def test_a_block_left_while_another_task_acts_leaves_the_outcome_to_it(real: Sidecar) -> None:
    """The permit was handed over: only who has it can tell."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def send(act: countermand.Action) -> None:
        async with act.commit():
            inside.set()
            await go_on.wait()

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            async with countermand.action("email.send") as act:
                worker = asyncio.create_task(send(act))
                await inside.wait()
            assert await states(run) == [(State.PERMITTED, "")]
            go_on.set()
            await worker

        assert await states(run) == [(State.SUCCEEDED, "")]


async def test_a_refused_second_task_does_not_hide_that_the_first_one_asks(proxy: Proxy) -> None:
    """Its refusal says nothing of the action, which is still settled when the block is left."""
    permitted, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    proxy.plan("CommitAction", then(lambda: (loop.call_soon_threadsafe(permitted.set), go_on.wait(10))))

    async def send(act: countermand.Action) -> None:
        async with act.commit():
            pytest.fail("acted after the block was left")

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            async with countermand.action("email.send") as act:
                first = asyncio.create_task(send(act))
                await permitted.wait()
                with pytest.raises(countermand.AlreadyPermitted, match="is asking"):
                    await send(act)
            assert await states(run) == [(State.FAILED, "the permit did not reach the tool")]
            go_on.set()
            with pytest.raises(countermand.AlreadyPermitted, match="block was left"):
                await first


async def test_many_tasks_that_begin_at_once_delegate_one_grant(proxy: Proxy) -> None:
    """Along the chain, too: each link is asked for once, by whoever needs it first."""

    async def act() -> None:
        async with countermand.perform("email.send"):
            pass

    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]), countermand.delegate(scopes=["email.*"]):
            with countermand.delegate_run(agent="other", scopes=["email.send"]):
                await asyncio.gather(*(act() for _ in range(10)))

    assert (proxy.calls.count("IssueGrant"), proxy.calls.count("DelegateGrant")) == (1, 2)


async def test_a_blocking_tool_hands_on_part_of_an_async_agents_grant(real: Sidecar) -> None:
    """By the blocking client's names, in its own thread; the agent's grant is what it was."""

    def tool() -> str:
        with countermand.sync.delegate(scopes=["email.send"]) as inner:
            with pytest.raises(countermand.OutOfScope):
                with countermand.sync.perform("calendar.add"):
                    pytest.fail("acted under the wider grant")
            with countermand.sync.perform("email.send") as act:
                pass
            assert countermand.sync.spend("tokens_out", 5) == {"tokens_out": 95}
            return inner.run_id + act.op_id

    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 100}) as run:
        with run.grant(scopes=["*"]) as grant:
            told = await asyncio.to_thread(tool)
            assert countermand.current_grant() is grant
        [done] = (await run.report()).done

    assert told == run.run_id + done.op_id


async def test_a_task_that_is_cancelled_while_a_person_is_asked_takes_the_question_back(
    real: Sidecar,
) -> None:
    """Nobody can agree to what nobody waits for."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="payer") as run:
        with run.grant(scopes=["* approval=read_only"]):

            async def pay() -> None:
                async with countermand.action("payment.send"):
                    pytest.fail("acted without consent")

            task = asyncio.create_task(pay())
            while not (await cm.operator.approvals()).approvals:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await cm.operator.approvals()).approvals == ()
        assert await states(run) == [(State.ABANDONED, "left by CancelledError")]
