"""The decorator: a function that runs only under a permit for its call."""

import asyncio
import inspect

import pytest

import countermand
import countermand.sync
from countermand.testing import Sidecar
from tests.client.support import Proxy


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
