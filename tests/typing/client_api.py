"""The client's types as its users meet them. Never run: mypy reads it in strict mode."""

from collections.abc import Callable
from typing import Any, assert_type

import countermand
import countermand.sync


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
            assert_type(await run.cancel(reason="USER_STOP"), countermand.Report)
        assert_type(await cm.auditor.runs(), countermand.RunPage)
        assert_type(
            await cm.operator.cancel("r-1", reason=countermand.StopReason.INCIDENT), countermand.Cancelled
        )


def a_story_that_blocks(args: dict[str, object]) -> None:
    """The same names, the same shapes, nothing to await."""
    with countermand.sync.connect(target="127.0.0.1:7420") as cm:
        with cm.open_run(agent="mailer") as run, run.grant(scopes=["*"]):
            with countermand.sync.action("email.send", args=args) as act, act.commit() as permit:
                assert_type(permit, countermand.Permit)
            assert_type(run.report(), countermand.Report)
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


def a_caller_handles_errors(error: countermand.CountermandError) -> str:
    """By what to do next."""
    match error:
        case countermand.Revoked(stop_reason=reason):
            assert_type(reason, countermand.StopReason)
            return reason
        case countermand.StopTheRun() | countermand.TryAgain():
            return error.reason
        case _:
            return error.metadata.get("run", "")


countermand.connect(host="localhost")  # type: ignore[call-arg]
countermand.Permit("o-1", 1)  # type: ignore[call-arg]
