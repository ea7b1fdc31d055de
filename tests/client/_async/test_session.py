"""The session of a client: calls travel on it when it is there, and stops are heard."""

import dataclasses

import pytest

import countermand
from countermand import _session
from countermand._address import Role
from countermand.testing import Sidecar
from tests.client.support import AsyncSoon

INTENT = countermand.Intent(
    op_id="o-1",
    action="email.send",
    resource="",
    digest=countermand.digest({}),
    reversibility=countermand.Reversibility.IRREVERSIBLE,
)


async def opened(cm: countermand.Client, role: Role) -> None:
    """Wait until the session of a role is there."""
    session = cm.connection.session(role)
    session.want()
    await AsyncSoon.until(lambda: session.is_ready)


async def test_a_tools_calls_travel_on_the_session(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is there nothing of a tool's goes alone: prepare, commit, settle, perform, abandon, spend."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a", budgets={"usd": 5}) as run:
        with run.grant(scopes=["*"]) as grant:
            await grant.token()
            await opened(cm, Role.TOOL)
            alone = cm.connection._method
            monkeypatch.setattr(cm.connection, "_method", None)
            async with countermand.action("email.send") as act, act.commit():
                pass
            async with countermand.perform("email.send") as performed:
                performed.receipt = "m-1"
            async with countermand.action("email.send"):
                pass
            spent = await countermand.spend("usd", 2)
            monkeypatch.setattr(cm.connection, "_method", alone)
        report = await run.report()
    assert [one.op_id for one in report.done] == [act.op_id, performed.op_id]
    assert spent["usd"] == 3


async def test_every_answer_on_the_session_says_what_is_left(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held, taken and given back is seen at once, with no call that travels alone."""
    budgets = {"usd": 10, "tool_calls": 10}
    costs = {"usd": 4}
    first, second, third = (dataclasses.replace(INTENT, op_id=name, costs=costs) for name in ("1", "2", "3"))
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a", budgets=budgets) as run:
        token = (await cm.issuer.issue(run.run_id, scopes=["*"])).token
        await opened(cm, Role.TOOL)
        with monkeypatch.context() as patched:
            patched.setattr(cm.connection, "_method", None)
            prepared = await cm.tool.prepare(token, first)
            permit = await cm.tool.commit(token, "1", first.digest)
            settled = await cm.tool.settle(token, "1", "SUCCEEDED")
            held = await cm.tool.prepare(token, second)
            back = await cm.tool.abandon(token, "2")
            performed = await cm.tool.perform(token, third)
            spent = await cm.tool.spend(token, "usd", 1)
    told = [prepared.remaining, permit.remaining_budgets, settled.remaining, held.remaining]
    assert told == [{"usd": left, "tool_calls": calls} for left, calls in ((6, 9), (6, 9), (6, 9), (2, 8))]
    told = [back.remaining, performed.remaining_budgets, spent.remaining]
    assert told == [{"usd": left, "tool_calls": calls} for left, calls in ((6, 9), (2, 8), (1, 8))]


async def test_a_refusal_is_the_same_exception_on_the_session(real: Sidecar) -> None:
    """Class, sentence, and who said why."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        await cm.operator.cancel("r-1", reason="USER_STOP", note="enough", actor="ada")
        told = []
        for _ in range(2):
            with pytest.raises(countermand.Revoked) as refused:
                await cm.tool.perform(token, INTENT)
            told.append(refused.value)
            await opened(cm, Role.TOOL)
    alone, together = told
    assert (str(alone), alone.metadata) == (str(together), together.metadata)
    assert (together.note, together.actor) == ("enough", "operator:ada")


async def test_a_run_hears_of_its_stop(real: Sidecar) -> None:
    """From another client, with the reason a late commit gets, once."""
    heard: list[countermand.CountermandError] = []
    async with countermand.connect(real.home) as cm, countermand.connect(real.home) as other:
        await cm.issuer.open(run_id="r-0", agent="a")
        with pytest.raises(countermand.Revoked):
            async with cm.open_run(agent="b", run_id="r-1", parent_run_id="r-0") as run:
                run.on_stop(heard.append)
                run.on_stop(heard.append)()  # heard no more
                await opened(cm, Role.ISSUER)
                await other.operator.cancel("r-0", reason="INCIDENT", note="all of it")
                await AsyncSoon.until(lambda: bool(heard))
                await other.operator.cancel("r-1", reason="USER_STOP")
    [told] = heard
    assert isinstance(told, countermand.Revoked)
    assert (told.stop_reason, told.note, told.ended_run) == ("INCIDENT", "all of it", "r-0")


async def test_a_grant_hears_of_a_fence_over_it(real: Sidecar) -> None:
    """The run goes on; what this grant allowed is over."""
    heard: list[countermand.CountermandError] = []
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a", tenant="acme") as run:
        await run.grant(scopes=["*"]).on_stop(heard.append)
        await cm.operator.revoke(countermand.Selector(tenant="acme"), reason="INCIDENT")
        await AsyncSoon.until(lambda: bool(heard))
    assert isinstance(heard[0], countermand.Fenced)


async def test_what_was_missed_is_heard_first(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there was no session the run was cancelled; the next one says so."""
    monkeypatch.setattr(_session, "_FIRST_PAUSE", 0.4)
    heard: list[countermand.CountermandError] = []
    changes: list[bool] = []
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        session.on_change(changes.append)
        await cm.use_token(token).on_stop(heard.append)
        await opened(cm, Role.TOOL)
        session._stream.cancel()
        await AsyncSoon.until(lambda: not session.is_ready)
        await cm.operator.cancel("r-1", reason="USER_STOP")
        assert not heard
        await AsyncSoon.until(lambda: bool(heard))
    assert isinstance(heard[0], countermand.Revoked)
    assert changes[:3] == [True, False, True]


async def test_without_a_session_calls_go_alone(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is gone, and until it is back, everything is decided all the same."""
    monkeypatch.setattr(_session, "_FIRST_PAUSE", 0.4)
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a") as run:
        with run.grant(scopes=["*"]) as grant:
            await grant.token()
            await opened(cm, Role.TOOL)
            session = cm.connection.session(Role.TOOL)
            session._stream.cancel()
            await AsyncSoon.until(lambda: not session.is_ready)
            async with countermand.perform("email.send"):
                pass
            assert not session.is_ready
        assert len((await run.report()).done) == 1


async def test_a_sidecar_that_is_gone_is_said_to_be_gone(real: Sidecar) -> None:
    """A commit is refused when nobody answers, session or not."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        await opened(cm, Role.TOOL)
        real.stop()
        with pytest.raises(countermand.Unavailable):
            await cm.tool.perform(token, INTENT, timeout=0.3)
