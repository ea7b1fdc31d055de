"""The decorator: a function that runs only under a permit for its call."""

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

import countermand
import countermand.sync
from countermand._address import Sockets
from countermand.testing import Sidecar
from tests.client.support import AsyncWaits, Person, Proxy


@countermand.tool(
    "email.send",
    resource=lambda to, body="hi": f"mailto:{to}",
    reversibility=countermand.Reversibility.COMPENSABLE,
    compensation="email.recall",
    receipt=lambda answer: answer["id"],
)
async def send(to: str, body: str = "hi") -> dict[str, str]:
    """Send mail."""
    return {"id": f"m-{to}-{body}"}


State = countermand.ActionState


@countermand.tool("ticket.close", resource="ticket:1")
def close(number: int) -> int:
    """Close a ticket."""
    return number


async def test_an_async_function_runs_under_its_permit(real: Sidecar) -> None:
    """What it acts on, and what came of it, is on record; the result is the function's own."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.send mailto:*@example.com"]):
            assert await send("a@example.com") == {"id": "m-a@example.com-hi"}
        [done] = (await run.report()).done

    assert (done.action, done.resource, done.receipt) == (
        "email.send",
        "mailto:a@example.com",
        "m-a@example.com-hi",
    )
    assert done.undo.how == "email.recall"


def test_a_function_that_blocks_runs_under_its_permit(real: Sidecar) -> None:
    """The same decorator, under the blocking client."""
    with countermand.sync.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["ticket.*"]):
            assert close(42) == 42
        [done] = run.report().done

    assert (done.action, done.resource, done.receipt) == ("ticket.close", "ticket:1", "")


async def test_a_function_that_blocks_runs_under_an_async_agents_grant(real: Sidecar) -> None:
    """In the loop's own thread, or better in another one."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            assert close(42) == 42
            assert await asyncio.to_thread(close, 43) == 43
        assert len((await run.report()).done) == 2


async def test_an_async_function_under_the_blocking_client_is_refused(real: Sidecar) -> None:
    """The call fails before anything is asked."""

    def drive() -> None:
        with countermand.sync.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
            with run.grant(scopes=["*"]):
                asyncio.run(send("a@example.com"))

    with pytest.raises(countermand.FixTheCall, match="async tool"):
        await asyncio.to_thread(drive)


async def test_without_a_grant_the_function_does_not_run() -> None:
    """A decorated tool cannot be called around its permit by forgetting the grant."""
    ran = []

    @countermand.tool("a.b")
    async def act() -> None:
        ran.append("async")

    @countermand.tool("a.b")
    def block() -> None:
        ran.append("sync")

    with pytest.raises(countermand.NoGrant):
        await act()
    with pytest.raises(countermand.NoGrant):
        block()
    assert ran == []


async def test_a_refused_call_does_not_run(real: Sidecar) -> None:
    """The resource is the one of this call."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.send mailto:*@example.com"]):
            with pytest.raises(countermand.OutOfScope):
                await send("mallory@example.org")
        assert (await run.report()).done == ()


async def test_a_permit_is_for_the_arguments_of_the_call(proxy: Proxy, real: Sidecar) -> None:
    """However they are passed; defaults are arguments too, and `self` is not."""

    class Mailer:
        @countermand.tool("email.send")
        async def send(self, to: str, *copies: str, urgent: bool = False) -> None:
            """Send mail."""

    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            await Mailer().send("a", "b", urgent=True)
        entries = (await cm.auditor.entries(run.run_id)).entries

    [digest] = [entry.data["digest"] for entry in entries if entry.kind == "PREPARED"]
    assert digest == countermand.digest({"to": "a", "copies": ["b"], "urgent": True}).hex()


async def test_arguments_without_a_spelling_need_one(real: Sidecar) -> None:
    """`args` says what stands for them; without it the call is refused, naming the argument."""

    @countermand.tool("file.write")
    async def careless(data: bytes) -> None:
        pytest.fail("ran on unbound arguments")

    @countermand.tool("file.write", args=lambda data: {"size": len(data)})
    async def careful(data: bytes) -> int:
        return len(data)

    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.InvalidRequest, match=r"args\['data'\] is of type bytes"):
                await careless(b"abc")
            assert await careful(b"abc") == 3


async def test_an_exception_settles_the_action(real: Sidecar) -> None:
    """As in a commit block: unknown, or failed if the tool says that nothing was sent."""

    @countermand.tool("a.b")
    async def act(error: str) -> None:
        raise countermand.NotSent if error == "not sent" else ConnectionError

    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.NotSent):
                await act("not sent")
            with pytest.raises(ConnectionError):
                await act("other")
        report = await run.report()

    assert len(report.not_done) == len(report.unknown) == 1


def test_a_tool_still_looks_like_its_function() -> None:
    """Name, docstring and signature are what a framework shows to its model."""
    assert (send.__name__, send.__doc__) == ("send", "Send mail.")
    assert list(inspect.signature(send).parameters) == ["to", "body"]
    assert inspect.iscoroutinefunction(send)
    assert not inspect.iscoroutinefunction(close)


def test_a_wrong_call_fails_like_any_other() -> None:
    """Arguments that do not fit are a TypeError before anything is asked."""
    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        close()  # type: ignore[call-arg]


def test_generators_are_refused_where_they_are_decorated() -> None:
    """Their body runs long after the call; the message says what to do instead."""
    with pytest.raises(TypeError, match=r"countermand\.perform"):

        @countermand.tool("a.b")
        def stream() -> object:
            yield 1

    with pytest.raises(TypeError, match="rows is a generator"):
        countermand.tool("a.b")(functools.partial(rows, []))


async def wait(sent: list[str]) -> None:
    """Have an effect, when it is awaited."""
    await asyncio.sleep(0)
    sent.append("coroutine")


def rows(sent: list[str]) -> Iterator[int]:
    """Have an effect, when it is iterated."""
    sent.append("generator")
    yield 1
    sent.append("generator, the rest")


async def pages(sent: list[str]) -> AsyncIterator[int]:
    """Have an effect, when it is iterated by async code."""
    sent.append("async generator")
    yield 1


async def begun_pages(sent: list[str]) -> AsyncIterator[int]:
    """An async generator somebody has taken the first value of."""
    generator = pages(sent)
    await anext(generator)
    return generator


class Request:
    """Like a remote call of a library: it is on its way when it is made, and can be awaited and cancelled."""

    def __init__(self, sent: list[str]) -> None:
        self.cancelled = False

    def __await__(self) -> Generator[None]:
        yield

    def cancel(self) -> None:
        """Ask it to stop."""
        self.cancelled = True


def begun(sent: list[str]) -> Iterator[int]:
    """A generator somebody has taken the first value of."""
    generator = rows(sent)
    next(generator)
    return generator


NOT_BEGUN: list[Callable[[list[str]], Any]] = [
    wait,
    rows,
    pages,
    contextlib.contextmanager(rows),
    contextlib.asynccontextmanager(pages),
]
MAY_HAVE_BEGUN: list[Callable[[list[str]], Any]] = [
    begun,
    Request,
    lambda sent: asyncio.ensure_future(wait(sent)),
    lambda sent: asyncio.get_running_loop().create_future(),
    lambda sent: concurrent.futures.Future(),
]


def blocking(make: Callable[[list[str]], Any], answered: list[Any]) -> Callable[[list[str]], Any]:
    """A tool that is a plain function and answers work to do."""

    @countermand.tool("a.b", args=lambda sent: {})
    def act(sent: list[str]) -> Any:
        answered.append(make(sent))
        return answered[-1]

    return act


def awaited(make: Callable[[list[str]], Any], answered: list[Any]) -> Callable[[list[str]], Awaitable[Any]]:
    """The same as an async one that forgets to await it."""

    @countermand.tool("a.b", args=lambda sent: {})
    async def act(sent: list[str]) -> Any:
        answered.append(make(sent))
        return answered[-1]

    return act


async def refused(
    real: Sidecar, tool: Callable[[list[str]], Any]
) -> tuple[countermand.Report, list[str], str]:
    """Call a tool that is to be refused; answer the report, what it sent in the end, and the message."""
    sent: list[str] = []
    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(TypeError, match=r"act answered a .*async def") as caught:
            answer = tool(sent)
            await answer
        report = await run.cancel()
    await asyncio.sleep(0.01)  # time for what was not stopped
    return report, sent, str(caught.value)


@pytest.mark.parametrize("kind", [blocking, awaited])
@pytest.mark.parametrize("make", NOT_BEGUN)
async def test_work_that_has_not_begun_never_will(
    real: Sidecar, kind: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """A coroutine or generator for a result is closed before its first line; the rest is unknown."""
    answered: list[Any] = []
    report, sent, message = await refused(real, kind(make, answered))

    [unknown] = report.unknown
    assert "closed before it began" in unknown.note
    assert "closed before it began" in message
    assert (report.done, report.not_done, report.in_flight) == ((), (), ())
    with contextlib.suppress(RuntimeError, StopIteration, StopAsyncIteration):
        await finished(answered[0])
    assert sent == []


async def finished(work: Any) -> None:
    """Do the work, the way its kind is done."""
    work = getattr(work, "gen", work)
    if inspect.iscoroutine(work):
        await work
    elif inspect.isasyncgen(work):
        await anext(work)
    else:
        next(work)


@pytest.mark.parametrize("kind", [blocking, awaited])
@pytest.mark.parametrize("make", MAY_HAVE_BEGUN)
async def test_work_that_may_have_begun_is_stopped_and_called_unknown(
    real: Sidecar, kind: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """Futures, tasks and remote calls run by themselves: nothing certain can be said of their effect."""
    answered: list[Any] = []
    report, sent, message = await refused(real, kind(make, answered))

    [unknown] = report.unknown
    assert "may have begun" in unknown.note
    assert "may have begun" in message
    assert (report.done, report.not_done, report.in_flight) == ((), (), ())
    [work] = answered
    if inspect.isgenerator(work):
        assert (next(work, "closed"), sent) == ("closed", ["generator"])
    else:
        assert work.cancelled is True or work.cancelled()
        assert sent == []


async def test_an_async_generator_that_has_begun_is_called_unknown(real: Sidecar) -> None:
    """Its first value was taken before it was handed on, so something of it has happened."""
    started = await begun_pages([])
    report, _, message = await refused(real, blocking(lambda sent: started, []))

    assert len(report.unknown) == 1
    assert "may have begun" in message
    await started.aclose()


def test_a_coroutine_for_a_result_is_refused_under_the_blocking_client_too(real: Sidecar) -> None:
    """There it could not even be awaited."""
    sent: list[str] = []
    with countermand.sync.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(TypeError, match="answered a coroutine"):
            blocking(wait, [])(sent)
        [unknown] = run.report().unknown

    assert (unknown.state, sent) == (State.UNKNOWN, [])


async def test_a_task_of_another_thread_is_stopped_in_its_own(real: Sidecar) -> None:
    """A blocking tool in a thread may hand back what it started on the agent's loop."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(TypeError, match="answered a Task"):
            await asyncio.to_thread(blocking(lambda sent: task, []), [])
        assert len((await run.report()).unknown) == 1
    with pytest.raises(asyncio.CancelledError):
        await task


@countermand.tool(
    "payment.send",
    resource="iban:x",
    costs=lambda amount, to="ann": {"usd": amount},
    summary=lambda amount, to="ann": f"pay {to} {amount}",
    approval_timeout="1m",
)
async def pay(amount: int, to: str = "ann") -> int:
    """Pay somebody."""
    return amount


async def test_a_function_says_what_its_call_costs_and_comes_to(real: Sidecar) -> None:
    """Both may follow from the arguments; a person who has to agree sees the line, and the call waits."""
    client = countermand.Client(Sockets(real.home), pacing=AsyncWaits(meanwhile=Person(real).agrees()).pacing)
    budgets = {"usd": countermand.Budget(50, "REFUSE")}
    async with client as cm, cm.open_run(agent="payer", budgets=budgets) as run:
        with run.grant(scopes=["payment.* approval=irreversible"]):
            assert await pay(30) == 30
            with pytest.raises(countermand.BudgetExhausted):
                await pay(30)
        entries = (await cm.auditor.entries(run.run_id)).entries

    [prepared] = [entry.data for entry in entries if entry.kind == "PREPARED"]
    assert (prepared["costs"], prepared["summary"]) == ("usd=30", "pay ann 30")


async def test_a_function_whose_call_is_denied_does_not_run(real: Sidecar) -> None:
    """Neither after a no, nor with arguments it was not called with."""
    for answer, kind in (
        (Person(real).says_no(note="no"), countermand.Denied),
        (Person(real).agrees(amendment={"amount": 1}), countermand.DigestMismatch),
    ):
        client = countermand.Client(Sockets(real.home), pacing=AsyncWaits(meanwhile=answer).pacing)
        async with client as cm, cm.open_run(agent="payer") as run:
            with run.grant(scopes=["* approval=read_only"]), pytest.raises(kind):
                await pay(30)
            assert (await run.report()).done == ()


@countermand.tool(
    "job.start",
    reversibility=countermand.Reversibility.COMPENSABLE,
    compensation="job.remove",
    compensation_args=lambda number: {"number": number},
    undo_with=lambda job: {"job": job},
    accepted=lambda job: job if job != "job-0" else None,
    canceller="job.cancel",
    probe="job.status",
)
async def start(number: int) -> str:
    """Start a job."""
    return f"job-{number}"


async def test_a_function_says_how_its_call_is_undone(real: Sidecar) -> None:
    """By the decorator alone: what the call and its result tell the compensation, and who calls it off."""
    async with countermand.connect(real.home) as cm, cm.open_run(run_id="r-1", agent="clerk") as run:
        with run.grant(scopes=["*"]):
            await start(0)
            await start(17)
        [first, second] = (await run.report()).done
        await run.cancel()
        await cm.operator.undo_run("r-1", op_ids=[second.op_id])
        undo = await cm.compensator.claim(compensations=["job.remove"])
        call_off = await cm.compensator.claim(cancellers=["job.cancel"])
        assert await cm.compensator.claim(cancellers=["job.cancel"]) is None

    assert undo is not None
    assert undo.args == {"number": 17, "job": "job-17"}
    assert call_off is not None
    assert call_off.handle == "job-17"
    assert first.call_off is None
    with pytest.raises(TypeError, match="needs to be told what was accepted"):
        countermand.tool("job.start", canceller="job.cancel")(close)
