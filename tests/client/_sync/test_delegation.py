# Derived from tests/client/_async/test_delegation.py by scripts/unasync.py. Do not edit.
"""Handing on part of a grant: never more than it has, under its name or in a run of its own."""

import pytest

import countermand.sync as countermand
from countermand._address import Role, Sockets
from countermand.testing import Sidecar
from tests.client.support import Proxy, lose_reply


def test_a_block_can_act_under_less_than_its_agent(proxy: Proxy) -> None:
    """Inside, only what was handed on counts; it is delegated when the first action needs it, once."""
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["email.*", "calendar.*"]) as outer:
            with countermand.delegate(scopes=["email.send mailto:*@example.com"]) as inner:
                assert countermand.current_grant() is inner
                assert inner.run_id == run.run_id
                assert "DelegateGrant" not in proxy.calls
                for _ in range(2):
                    with countermand.perform("email.send", resource="mailto:a@example.com"):
                        pass
                with pytest.raises(countermand.OutOfScope):
                    with countermand.perform("calendar.add"):
                        pytest.fail("acted under the wider grant")
            assert countermand.current_grant() is outer
            with countermand.perform("calendar.add"):
                pass

    assert proxy.calls.count("DelegateGrant") == 1
    assert outer.issued is not None
    assert inner.issued is not None
    assert (outer.issued.chain, inner.issued.chain) == ((), (outer.issued.grant_id,))


def test_more_than_there_is_cannot_be_handed_on(real: Sidecar) -> None:
    """The refusal names the scope or budget and what is wrong with it."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner", budgets={"usd": 5}) as run:
        with run.grant(scopes=["email.send uses=2"]) as grant:
            for asked, field in (
                ({"scopes": ["email.send uses=1", "calendar.add"]}, "scopes[1]"),
                ({"scopes": ["email.*"]}, "scopes[0]"),
                ({"scopes": ["email.send uses=3"]}, "scopes[0]"),
                ({"scopes": ["email.send"], "budgets": {"usd": 6}}, "budgets[usd]"),
            ):
                with pytest.raises(countermand.InvalidRequest) as refusal:
                    grant.delegate(**asked).token()
                assert refusal.value.reason is countermand.ErrorReason.GRANT_TOO_WIDE
                assert refusal.value.metadata["field"] == field


def test_a_sealed_grant_stays_where_it_is(real: Sidecar) -> None:
    """Its holder acts under it and cannot hand it on."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["email.*"]):
            with countermand.delegate(scopes=["email.send"], sealed=True) as inner:
                with countermand.perform("email.send"):
                    pass
                assert inner.issued is not None
                assert inner.issued.sealed
                with pytest.raises(countermand.NotAllowed) as refusal:
                    with countermand.delegate(scopes=["email.send"]):
                        with countermand.perform("email.send"):
                            pytest.fail("acted under what may not be handed on")

    assert refusal.value.reason is countermand.ErrorReason.GRANT_SEALED


def test_a_chain_is_delegated_from_its_first_grant_on(real: Sidecar) -> None:
    """Blocks inside each other are links of one chain, though only the innermost one acts."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["*"]) as first, countermand.delegate(scopes=["email.*"]) as second:
            with countermand.delegate(scopes=["email.send"]) as third:
                with countermand.perform("email.send"):
                    pass

    assert first.issued is not None
    assert second.issued is not None
    assert third.issued is not None
    assert third.issued.chain == (first.issued.grant_id, second.issued.grant_id)


def test_a_delegation_whose_answer_is_lost_delegates_once(proxy: Proxy) -> None:
    """Request and run have their ids before the first attempt."""
    proxy.plan("DelegateGrant", lose_reply, lose_reply)
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["*"]):
            with countermand.delegate(scopes=["email.*"]):
                with countermand.perform("email.send"):
                    pass
            with countermand.delegate_run(agent="mailer", scopes=["email.*"]):
                with countermand.perform("email.send"):
                    pass
        kinds = [entry.kind for entry in (cm.auditor.entries(run.run_id)).entries]
        runs = (cm.auditor.runs()).runs

    assert proxy.calls.count("DelegateGrant") == 4
    assert kinds.count("DELEGATED") == kinds.count("CHILD_OPENED") == 1
    assert len(runs) == 2


def test_what_was_handed_on_can_be_handed_to_another_process(real: Sidecar) -> None:
    """Its token is all there is to hand over, and what holds it can hand on part of that in turn."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["email.*"]):
            token = (countermand.delegate(scopes=["email.send", "email.draft"]).token()).reveal()

        with countermand.connect(real.home) as other:
            with other.use_token(token) as grant, grant.delegate(scopes=["email.send"]) as last:
                assert last.run_id == ""
                with countermand.perform("email.send") as act:
                    pass
                with pytest.raises(countermand.OutOfScope):
                    with countermand.perform("email.draft"):
                        pytest.fail("acted out of scope")

        assert [done.op_id for done in (run.report()).done] == [act.op_id]


def test_a_sub_agent_gets_a_run_of_its_own_without_an_issuer(real: Sidecar) -> None:
    """An orchestrator that holds a token, and no socket but the tool's, opens the run as it delegates."""
    with countermand.connect(real.home) as owner, owner.open_run(subject="ann", agent="planner") as run:
        token = run.grant(scopes=["search.*", "email.*"]).token()
        with countermand.connect(real.home) as cm:
            cm.issuer = type(cm.issuer)(cm.issuer.connection, Role.AUDITOR, 2.0, cm.issuer.clock)
            with cm.use_token(token):
                with countermand.delegate_run(
                    agent="researcher",
                    scopes=["search.*"],
                    labels={"team": "a"},
                    ttl="30s",
                    budgets={"tool_calls": 3},
                    run_ttl="5m",
                    run_id="r-sub",
                ) as sub:
                    with countermand.perform("search.web") as act:
                        assert act.remaining == {"tool_calls": 2}
        child = owner.auditor.run("r-sub")
        report = run.report()

    assert (sub.run_id, child.parent_run_id) == ("r-sub", run.run_id)
    assert (child.subject, child.agent, child.labels) == ("ann", "researcher", {"team": "a"})
    assert (child.deadline_time - child.open_time).total_seconds() == 300
    assert (child.budgets["tool_calls"].limit, child.budgets["tool_calls"].remaining) == (3, 2)
    assert sub.issued is not None
    assert (sub.issued.expire_time - sub.issued.issue_time).total_seconds() == 30
    assert (report.descendant_run_ids, [done.run_id for done in report.done]) == (("r-sub",), ["r-sub"])


def test_a_sub_agents_run_can_be_stopped_alone(real: Sidecar) -> None:
    """Its block is refused from then on, the one around it is not."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["*"]):
            with countermand.delegate_run(agent="mailer", scopes=["email.*"]) as sub:
                sub.token()
                cm.operator.cancel(sub.run_id, reason="USER_STOP")
                with pytest.raises(countermand.Revoked):
                    with countermand.perform("email.send"):
                        pytest.fail("acted after the stop")
            with countermand.perform("email.send"):
                pass


def test_the_end_of_a_grant_reaches_what_was_handed_on(real: Sidecar) -> None:
    """A fence over the first grant stands over the whole chain."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="planner") as run:
        with run.grant(scopes=["*"]) as first, countermand.delegate(scopes=["email.*"]):
            with countermand.perform("email.send"):
                pass
            assert first.issued is not None
            over = countermand.Selector(grant_id=first.issued.grant_id)
            cm.operator.revoke(over, reason="INCIDENT")
            with pytest.raises(countermand.Fenced):
                with countermand.perform("email.send"):
                    pytest.fail("acted under a revoked chain")
        with run.grant(scopes=["*"]):
            with countermand.perform("email.send"):
                pass


def test_the_doors_delegate_too(real: Sidecar) -> None:
    """The issuer may hand on any grant; a repeated request gets the same answer."""
    with countermand.Client(Sockets(real.home)) as cm:
        cm.issuer.open(run_id="r-1")
        issued = cm.issuer.issue("r-1", scopes=["*"], audience="other")
        asked = {"scopes": ["email.*"], "child": countermand.ChildRun(agent="mailer"), "audience": "tool"}
        first = cm.issuer.delegate(issued.token, request_id="g-2", **asked)
        again = cm.issuer.delegate(
            issued.token,
            request_id="g-2",
            scopes=["email.*"],
            child=countermand.ChildRun(agent="mailer", run_id=first.run.run_id if first.run else ""),
            audience="tool",
        )
        with pytest.raises(countermand.NotAllowed):
            cm.tool.delegate(issued.token, scopes=["email.*"])
        permit = cm.tool.perform(first.token, countermand.Intent.of("email.send"))

    assert first.run is not None
    assert (first.grant.run_id, first.run.agent, first.replayed) == (first.run.run_id, "mailer", False)
    assert (again.grant, again.token, again.replayed) == (first.grant, first.token, True)
    assert permit.remaining_budgets == {}
