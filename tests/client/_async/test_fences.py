"""Fences from both sides: who sets them, and the tool that is refused by one."""

import pytest

import countermand
from countermand._address import Sockets
from countermand.testing import ManualClock, Sidecar
from tests.client.support import AsyncWaits, Proxy, lose_reply

Selector = countermand.Selector
State = countermand.ActionState


async def test_a_fence_stops_what_it_names_and_says_so(real: Sidecar) -> None:
    """Who set it, why, over what, and since when; the run itself goes on with what is not named."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            async with countermand.perform("calendar.add"):
                pass
            told = await cm.operator.freeze(
                Selector(agent="mailer", action="email.*"), reason="INCIDENT", actor="ann", note="a worm"
            )
            with pytest.raises(countermand.Fenced) as refusal:
                async with countermand.perform("email.send"):
                    pytest.fail("acted through a fence")
            async with countermand.perform("calendar.add"):
                pass

    error, fence = refusal.value, told.fence
    assert fence is not None
    assert (error.fence_id, error.kind) == (fence.fence_id, countermand.FenceKind.FREEZE)
    assert error.selector == "agent=mailer action=email.*"
    assert (error.stop_reason, error.actor, error.note) == ("INCIDENT", "operator:ann", "a worm")
    assert (error.seq, error.ended_time) == (fence.seq, fence.time)
    assert error.prior_decision is None
    assert isinstance(error, countermand.StopTheRun)
    assert not isinstance(error, countermand.RunEnded)


async def test_a_revoke_kills_what_was_issued_before_it_only(real: Sidecar) -> None:
    """A new grant of the same run counts."""
    async with countermand.connect(real.home) as cm, cm.open_run(subject="ann") as run:
        with run.grant(scopes=["*"]) as grant:
            await grant.token()
            await cm.operator.revoke(Selector(subject="ann"), reason="POLICY")
            with pytest.raises(countermand.Fenced):
                async with countermand.perform("email.send"):
                    pytest.fail("acted under a revoked grant")
        with run.grant(scopes=["*"]):
            async with countermand.perform("email.send"):
                pass


async def test_a_freeze_blocks_new_grants_until_it_is_lifted(real: Sidecar, clock: ManualClock) -> None:
    """What it killed stays dead; after it, or after its time, new grants count."""
    everything = Selector(all=True)
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        for ending in ("lifted", "over"):
            frozen = (await cm.operator.freeze(everything, reason="INCIDENT", ttl="1m")).fence
            assert frozen is not None
            assert (frozen.expire_time - frozen.time).total_seconds() == 60
            with run.grant(scopes=["*"]), pytest.raises(countermand.Fenced):
                async with countermand.perform("email.send"):
                    pytest.fail("acted through a freeze")
            if ending == "lifted":
                lifted = await cm.operator.lift(frozen.fence_id, actor="bob", note="all clear")
            else:
                clock.advance("61s")
            with run.grant(scopes=["*"]):
                async with countermand.perform("email.send"):
                    pass

    assert lifted.fence.state is countermand.FenceState.LIFTED
    assert (lifted.fence.lift_actor, lifted.fence.lift_note) == ("operator:bob", "all clear")
    assert lifted.fence.lift_time is not None


async def test_what_a_fence_interrupted_stays_interrupted(proxy: Proxy) -> None:
    """The tool does not call it abandoned; the report names the fence."""
    async with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.Fenced):
                async with countermand.action("email.send") as act:
                    told = await cm.operator.revoke(Selector(run_id=run.run_id), reason="INCIDENT")
                    async with act.commit():
                        pytest.fail("acted through a fence")
        report = await run.report()

    assert "AbandonAction" not in proxy.calls
    assert [one.op_id for one in report.interrupted] == [act.op_id]
    assert report.fences == (told.fence,)
    assert [late.reason for late in report.late_attempts] == [countermand.ErrorReason.FENCED]


async def test_a_permit_that_was_lost_before_a_fence_is_told_truly(proxy: Proxy, real: Sidecar) -> None:
    """The fence finds the action permitted; the tool knows that its body never ran, and says so."""

    def fence() -> None:
        with real.connect_sync() as cm:
            cm.operator.revoke(Selector(all=True), reason="INCIDENT")

    async with countermand.Client(Sockets(proxy.home), pacing=AsyncWaits(meanwhile=fence).pacing) as cm:
        async with cm.open_run(agent="mailer") as run:
            with run.grant(scopes=["*"]):
                proxy.plan("CommitAction", lose_reply)
                with pytest.raises(countermand.Fenced) as refusal:
                    async with countermand.action("email.send") as act, act.commit():
                        pytest.fail("acted through a fence")
            [failed] = (await run.report()).not_done

    assert refusal.value.prior_decision is State.PERMITTED
    assert (failed.state, failed.note) == (State.FAILED, "the permit did not reach the tool")


async def test_a_run_that_is_left_by_a_fence_is_cancelled_for_its_reason(real: Sidecar) -> None:
    """Nobody drives it any more, and the report tells why."""
    async with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Fenced):
            async with cm.open_run(agent="mailer") as run:
                with run.grant(scopes=["*"]) as grant:
                    await grant.token()
                    await cm.operator.revoke(Selector(agent="mailer"), reason="INCIDENT")
                    async with countermand.perform("email.send"):
                        pytest.fail("acted through a fence")
        end = (await cm.auditor.run(run.run_id)).end

    assert end is not None
    assert (end.reason, end.note) == (countermand.StopReason.INCIDENT, "left by Fenced")


async def test_a_dry_run_only_tells_what_would_be_hit(real: Sidecar) -> None:
    """Runs, grants and actions, by tenant and name; nothing is stopped."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer", tenant="t-1") as run:
        with run.grant(scopes=["*"]):
            async with countermand.action("email.send"):
                for dry in (cm.operator.revoke, cm.operator.freeze):
                    told = await dry(Selector(tenant="t-1"), reason="INCIDENT", dry_run=True)
                    assert (told.fence, told.hit.complete) == (None, True)
                    assert (told.hit.run_count, told.hit.grant_count) == (1, 1)
                    assert (told.hit.prepared_count, told.hit.in_flight_count) == (1, 0)
                    assert told.hit.rows == (countermand.HitRow("t-1", "email.send", 1, 0),)
                    [sample] = told.hit.samples
                    assert (sample.run_id, sample.agent) == (run.run_id, "mailer")
        assert await cm.auditor.fences() == ()


async def test_a_fence_whose_answer_is_lost_is_set_once(proxy: Proxy) -> None:
    """Its id is chosen before the first attempt; whoever chooses it can come back."""
    for name in ("RevokeGrants", "FreezeGrants", "LiftFence"):
        proxy.plan(name, lose_reply)
    async with countermand.connect(proxy.home) as cm:
        revoked = await cm.operator.revoke(Selector(agent="a"), reason="INCIDENT")
        frozen = await cm.operator.freeze(Selector(agent="b"), reason="INCIDENT", request_id="f-1")
        again = await cm.operator.freeze(Selector(agent="b"), reason="INCIDENT", request_id="f-1")
        with pytest.raises(countermand.Conflict) as other:
            await cm.operator.freeze(Selector(agent="c"), reason="INCIDENT", request_id="f-1")
        lifted = await cm.operator.lift("f-1")
        fences = await cm.operator.fences()

    assert revoked.replayed
    assert frozen.replayed
    assert again.replayed
    assert other.value.reason is countermand.ErrorReason.FENCE_EXISTS
    assert lifted.replayed
    assert revoked.fence is not None
    assert [one.fence_id for one in fences] == ["f-1", revoked.fence.fence_id]


async def test_fences_can_be_read(real: Sidecar) -> None:
    """All of them or those that still do something; one with what it stands over now."""
    over = Selector(subject="ann", labels={"team": "a"})
    async with countermand.connect(real.home) as cm, cm.open_run(subject="ann", labels={"team": "a"}) as run:
        await run.grant(scopes=["*"]).token()
        revoked = (await cm.operator.revoke(over, reason="POLICY", request_id="f-1")).fence
        await cm.operator.freeze(Selector(all=True), reason="INCIDENT", request_id="f-2")
        await cm.operator.lift("f-2")
        standing = await cm.auditor.fences(standing_only=True)
        one = await cm.auditor.get_fence("f-1")
        with pytest.raises(countermand.NotFound) as unknown:
            await cm.auditor.get_fence("f-3")
        with pytest.raises(countermand.Conflict) as fixed:
            await cm.operator.lift("f-1")

    assert standing == (revoked,)
    assert revoked is not None
    assert (revoked.selector, revoked.kind) == (over, countermand.FenceKind.REVOKE)
    assert (one.fence, one.hit.run_count) == (revoked, 1)
    assert unknown.value.reason is countermand.ErrorReason.FENCE_UNKNOWN
    assert fixed.value.reason is countermand.ErrorReason.FENCE_NOT_LIFTABLE


async def test_a_refusal_can_be_explained(real: Sidecar) -> None:
    """Which rule, since when, and the fence if it is one; nothing where nothing refuses."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]) as grant:
            await grant.token()
            assert grant.issued is not None
            fine = await cm.auditor.why(run.run_id, grant_id=grant.issued.grant_id)
            told = await cm.operator.revoke(Selector(agent="mailer"), reason="INCIDENT", note="a worm")
            why = await cm.auditor.why(run.run_id, grant_id=grant.issued.grant_id)

    assert (fine.reason, fine.fence) == (countermand.ErrorReason.UNSPECIFIED, None)
    assert why.reason is countermand.ErrorReason.FENCED
    assert why.fence == told.fence
    assert why.fence is not None
    assert why.since_time == why.fence.time
    assert why.details["note"] == "a worm"
    assert why.fence.fence_id in why.text
