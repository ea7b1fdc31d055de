"""The grant that is current: issued once, when it is needed, and only inside its block."""

import pytest

import countermand
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy, lose_reply


async def test_a_grant_is_issued_when_the_first_action_needs_it(proxy: Proxy) -> None:
    """Entering the block costs no call; two actions cost one issue."""
    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.*"], ttl="60s") as grant:
            assert "IssueGrant" not in proxy.calls
            assert grant.issued is None
            for _ in range(2):
                async with countermand.perform("email.send"):
                    pass

    assert proxy.calls.count("IssueGrant") == 1
    assert grant.issued is not None
    assert grant.issued.scopes == (
        countermand.Scope("email.*", "*", 0, countermand.Reversibility.IRREVERSIBLE),
    )


async def test_an_issue_whose_answer_is_lost_issues_one_grant(proxy: Proxy) -> None:
    """The request id is chosen before the first attempt."""
    proxy.plan("IssueGrant", lose_reply)
    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.*"]):
            async with countermand.perform("email.send"):
                pass
        kinds = [entry.kind for entry in (await cm.auditor.entries(run.run_id)).entries]

    assert proxy.calls.count("IssueGrant") == 2
    assert kinds.count("ISSUED") == 1


async def test_without_a_grant_nothing_is_asked_and_nothing_happens(proxy: Proxy) -> None:
    """To act outside of a grant's block is a mistake of the caller's."""
    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            pass
        with pytest.raises(countermand.NoGrant, match="no grant is current"):
            async with countermand.perform("email.send"):
                pytest.fail("acted without a grant")

    assert proxy.calls == ["OpenRun", "FinishRun"]


async def test_an_inner_grant_overrides_the_outer_one(real: Sidecar) -> None:
    """The innermost block decides, and the outer one counts again after it."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.*"]) as outer:
            with run.grant(scopes=["calendar.*"]) as inner:
                assert countermand.current_grant() is inner
                with pytest.raises(countermand.OutOfScope) as refusal:
                    async with countermand.perform("email.send"):
                        pytest.fail("acted out of scope")
            assert countermand.current_grant() is outer
            async with countermand.perform("email.send"):
                pass

    assert refusal.value.metadata["rule"] == "action"


async def test_a_grant_can_be_entered_again(real: Sidecar) -> None:
    """Each of its blocks is a block of the same grant, also one inside the other."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        grant = run.grant(scopes=["*"])
        with grant, grant:
            pass
        with grant:
            assert countermand.current_grant() is grant
        with pytest.raises(countermand.NoGrant):
            countermand.current_grant()


async def test_a_grants_time_ends(real: Sidecar, clock: ManualClock) -> None:
    """What was granted for a minute is refused after it."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"], ttl="60s"):
            async with countermand.perform("email.send"):
                pass
            clock.advance("61s")
            with pytest.raises(countermand.Expired):
                async with countermand.perform("email.send"):
                    pytest.fail("acted with an expired grant")


async def test_a_grants_uses_run_out(real: Sidecar) -> None:
    """The text form of a scope limits how often."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.send mailto:*@example.com uses=1"]):
            async with countermand.perform("email.send", resource="mailto:a@example.com"):
                pass
            with pytest.raises(countermand.Exhausted):
                async with countermand.perform("email.send", resource="mailto:b@example.com"):
                    pytest.fail("acted more often than granted")


async def test_a_token_can_be_handed_to_another_process(real: Sidecar) -> None:
    """Whoever holds the token acts under the grant; nothing else is needed."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        token = (await run.grant(scopes=["email.*"]).token()).reveal()

        async with countermand.connect(real.home) as other:
            with other.use_token(token):
                async with countermand.perform("email.send") as act:
                    pass
                with pytest.raises(countermand.OutOfScope):
                    async with countermand.perform("calendar.add"):
                        pytest.fail("acted out of scope")

        assert [done.op_id for done in (await run.report()).done] == [act.op_id]


async def test_a_token_that_is_none_is_refused(real: Sidecar) -> None:
    """The sidecar knows its own tokens."""
    async with countermand.connect(real.home) as cm:
        for token, reason in (
            ("", "TOKEN_MISSING"),
            ("nonsense", "TOKEN_MALFORMED"),
            ("x" * 5000, "TOKEN_TOO_LARGE"),
        ):
            with cm.use_token(token), pytest.raises(countermand.FixTheCall) as refusal:
                async with countermand.perform("email.send"):
                    pytest.fail("acted without authority")
            assert refusal.value.reason == reason


async def test_a_run_that_has_ended_gives_no_grants(real: Sidecar) -> None:
    """The refusal says how the run ended."""
    async with countermand.connect(real.home) as cm:
        async with cm.open_run(agent="mailer") as run:
            pass
        with run.grant(scopes=["*"]), pytest.raises(countermand.RunFinished):
            async with countermand.perform("email.send"):
                pytest.fail("acted after the end")


async def test_a_grant_does_not_show_its_token(real: Sidecar) -> None:
    """What is printed of a grant tells what it allows."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.send uses=2"]) as grant:
            token = await grant.token()

            assert repr(grant) == f"<CurrentGrant of run {run.run_id}: email.send * uses=2>"
            assert token.reveal() not in f"{vars(grant.authority)} {grant.issued} {token}"
