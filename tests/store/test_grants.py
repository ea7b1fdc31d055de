"""Grants: present, their own audience's, unexpired by the store's clock, and never wider than asked for."""

from dataclasses import replace

import pytest

from grant_service.core.errors import ErrorReason
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Rule, Scope
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, ref, refused
from tests.store.rigs import EPOCH, START

SCOPES = (
    Scope("email.send", "mailto:*@example.com", 3, Reversibility.COMPENSABLE),
    Scope("calendar.*"),
)


async def test_a_grant_is_kept_as_it_was_asked_for(play: Player) -> None:
    """Its scopes, audience, path and times are what the issuer said and the run allows."""
    await play.open("a", subject="u-7")
    await play.open("b", parent="a", subject="u-8")
    issued = done(await play.try_issue("b", SCOPES, HOUR))
    grant = issued.grant
    assert (grant.run_id, grant.ancestors, grant.audience, grant.scopes) == ("b", ("a",), "tool", SCOPES)
    assert (grant.used, grant.epoch, issued.subject, issued.replayed) == ((0, 0), EPOCH, "u-8", False)
    assert (grant.issue_time, grant.expire_time, grant.issue_seq) == (START, START + HOUR, 4)


async def test_issuing_again_answers_the_same_grant(play: Player) -> None:
    """A repeated issue changes nothing, not even when uses were taken meanwhile."""
    await play.open()
    first = done(await play.try_issue(scopes=SCOPES))
    done(await play.perform(ref(first), intent(reversibility=Reversibility.COMPENSABLE)))
    await play.rig.advance(SECOND)
    again = done(await play.try_issue(scopes=SCOPES))
    assert again.replayed
    assert again.grant == replace(first.grant, used=(1, 0))
    assert (await play.kinds()).count("ISSUED") == 1


@pytest.mark.parametrize(
    "other",
    [
        {"run": "other"},
        {"audience": "tool-2"},
        {"ttl_ms": HOUR + 1},
        {"scopes": SCOPES[:1]},
        {"scopes": SCOPES[::-1]},
        {"scopes": (replace(SCOPES[0], max_uses=4), SCOPES[1])},
    ],
)
async def test_a_grant_id_is_not_issued_for_another_grant(play: Player, other: dict[str, object]) -> None:
    """The same id with another run, audience, length or scopes is refused."""
    await play.open()
    await play.open("other")
    await play.issue(scopes=SCOPES)
    asked = {"scopes": SCOPES} | other
    details = refused(await play.try_issue(**asked), ErrorReason.GRANT_EXISTS)  # type: ignore[arg-type]
    assert details == {"grant": "grant"}


async def test_a_grant_never_outlives_its_run(play: Player) -> None:
    """Its expiry is cut to the deadline of the run."""
    await play.open(ttl_ms=HOUR)
    await play.rig.advance(SECOND)
    assert done(await play.try_issue(ttl_ms=DAY)).grant.expire_time == START + HOUR
    assert done(await play.try_issue(ttl_ms=SECOND, grant="g2")).grant.expire_time == START + 2 * SECOND


async def test_no_grant_for_an_unknown_run(play: Player) -> None:
    """A run must be opened first."""
    assert refused(await play.try_issue("nobody"), ErrorReason.RUN_UNKNOWN) == {"run": "nobody"}


@pytest.mark.parametrize(
    "ref",
    [
        GrantRef("nothing", "run", (), "tool", ""),
        GrantRef("grant", "other", (), "tool", ""),
        GrantRef("grant", "nobody", (), "tool", ""),
        GrantRef("grant", "run", ("other",), "tool", ""),
    ],
)
async def test_a_grant_the_store_does_not_have_gives_no_authority(play: Player, ref: GrantRef) -> None:
    """A pointer to nothing, or to a grant of another run or path, is unknown to every verb of a tool."""
    grant = await play.ready()
    await play.open("other")
    await play.permit(grant)
    for call in (
        play.prepare(ref, "new"),
        play.commit(ref),
        play.perform(ref, "new"),
        play.settle(ref),
        play.abandon(ref),
    ):
        details = refused(await call, ErrorReason.GRANT_UNKNOWN)
        assert details == {"grant": ref.grant_id, "run": ref.run_id}
    assert "REFUSED" not in await play.kinds() + await play.kinds("other")


async def test_a_grant_is_only_for_its_audience(play: Player) -> None:
    """Another peer that presents the token is refused by every verb, and the attempt is on record."""
    grant = await play.ready()
    await play.permit(grant)
    calls = {
        "prepare": play.prepare(grant, "new", peer="thief"),
        "commit": play.commit(grant, peer="thief"),
        "perform": play.perform(grant, "new", peer="thief"),
        "settle": play.settle(grant, peer="thief"),
        "abandon": play.abandon(grant, peer="thief"),
    }
    for call in calls.values():
        details = refused(await call, ErrorReason.WRONG_AUDIENCE)
        assert (details["audience"], details["peer"]) == ("tool", "thief")
    refusals = [entry.data for entry in await play.journal() if entry.kind == "REFUSED"]
    assert [data["verb"] for data in refusals] == list(calls)
    assert {data["peer"] for data in refusals} == {"thief"}
    assert (await play.read()).refusals == len(calls)


async def test_a_grant_expires_by_the_stores_clock(play: Player) -> None:
    """The last millisecond counts, the expiry itself does not; nobody else's clock is asked."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    await play.rig.advance(10 * SECOND - 1)
    done(await play.prepare(grant))
    done(await play.perform(grant, "in-time"))
    await play.rig.advance(1)
    refused(await play.prepare(grant, "late"), ErrorReason.GRANT_EXPIRED)
    refused(await play.perform(grant, "late"), ErrorReason.GRANT_EXPIRED)
    refused(await play.commit(grant), ErrorReason.PREPARE_EXPIRED)


async def test_a_prepared_action_never_outlives_its_grant(play: Player) -> None:
    """The time to commit is cut to the grant's expiry."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    assert done(await play.prepare(grant, "a", ttl_ms=HOUR)).expire_time == START + 10 * SECOND
    assert done(await play.prepare(grant, "b", ttl_ms=SECOND)).expire_time == START + SECOND


async def test_a_permit_never_outlives_its_grant(play: Player) -> None:
    """Use-by is cut to the grant's expiry, and what is left of it is told."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    await play.rig.advance(8 * SECOND)
    performed = done(await play.perform(grant, "a", use_ms=5 * SECOND))
    assert (performed.use_by, performed.left_ms) == (START + 10 * SECOND, 2 * SECOND)
    done(await play.prepare(grant, "b"))
    committed = done(await play.commit(grant, "b", use_ms=5 * SECOND))
    assert (committed.use_by, committed.left_ms) == (START + 10 * SECOND, 2 * SECOND)
    assert done(await play.perform(grant, "c", use_ms=SECOND)).use_by == START + 9 * SECOND


async def test_two_grants_of_a_run_do_not_share_actions(play: Player) -> None:
    """An action belongs to the grant it was prepared under; another grant of the run cannot touch it."""
    grant = await play.ready()
    second = await play.issue(grant="second")
    done(await play.prepare(grant))
    for call in (
        play.prepare(second),
        play.commit(second),
        play.perform(second),
        play.settle(second),
        play.abandon(second),
    ):
        details = refused(await call, ErrorReason.WRONG_GRANT)
        assert (details["grant"], details["op"], details["run"]) == ("second", "op", "run")
    done(await play.commit(grant))


async def test_one_op_id_in_two_runs_is_two_actions(play: Player) -> None:
    """Op ids are names within a run."""
    one = await play.ready("a", grant="g-a")
    two = await play.ready("b", grant="g-b")
    first, second = await play.permit(one), await play.permit(two)
    assert not first.replayed
    assert not second.replayed
    assert first.fence < second.fence


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        (intent(action="sms.send"), Rule.ACTION),
        (intent(action="email.send.now"), Rule.ACTION),
        (intent(action="calendar"), Rule.ACTION),
        (intent(resource="mailto:a@evil.org"), Rule.RESOURCE),
        (intent(resource="mailto:a@example.com,b@evil.org"), Rule.RESOURCE),
        (intent(resource=""), Rule.RESOURCE),
        (intent(reversibility=Reversibility.IRREVERSIBLE), Rule.CEILING),
    ],
)
async def test_what_no_scope_allows_is_refused(play: Player, wanted: object, rule: Rule) -> None:
    """The refusal names the rule that came closest to allowing it; nothing but the refusal is on record."""
    grant = await play.ready(scopes=SCOPES)
    for answer in (await play.prepare(grant, wanted), await play.perform(grant, wanted)):
        assert refused(answer, ErrorReason.OUT_OF_SCOPE)["rule"] == rule
    assert await play.kinds() == ["OPENED", "ISSUED", "REFUSED", "REFUSED"]
    assert (await play.read()).actions == 0


@pytest.mark.parametrize(
    "wanted",
    [
        intent(reversibility=Reversibility.COMPENSABLE),
        intent(reversibility=Reversibility.READ_ONLY),
        intent(action="calendar.create.event", resource=""),
        intent(action="calendar.x", resource="cal/1", reversibility=Reversibility.IRREVERSIBLE),
    ],
)
async def test_what_a_scope_allows_is_permitted(play: Player, wanted: object) -> None:
    """An action within one of the scopes passes prepare and commit."""
    grant = await play.ready(scopes=SCOPES)
    done(await play.prepare(grant, wanted))
    done(await play.commit(grant))


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("*", "", None),
        ("a/*", "a/b/c:d", "a/"),
        ("a/*/c", "a/b/c", "a/b/d/c"),
        ("*/c", "a/c", "/c"),
        ("*:*", "a:b/c", "a/b:c"),
        ("*,*", "a,b@c", ",b"),
        ("a;b?c#d&e=*", "a;b?c#d&e=f", "a;b?c#d&e="),
        ("db/*=*", "db/k=v", "db/k&v"),
        ("x%20y/*", "x%20y/z", "x/z"),
        ("a.b-c/+($^)]/*", "a.b-c/+($^)]/%5B", "aXb-c/+($^)]/%5B"),
    ],
)
async def test_every_store_matches_patterns_alike(
    play: Player, pattern: str, inside: str, outside: str | None
) -> None:
    """The matcher of each store reads delimiters, stars and magic letters in the same way."""
    grant = await play.ready(scopes=(Scope("*", pattern),))
    done(await play.prepare(grant, intent("in", resource=inside)))
    if outside is not None:
        refused(await play.prepare(grant, intent("out", resource=outside)), ErrorReason.OUT_OF_SCOPE)


async def test_a_cancelled_run_gets_no_grant(play: Player) -> None:
    """Not even the one it had is told again."""
    await play.ready()
    await play.cancel(reason=StopReason.INCIDENT, note="leak")
    for grant in ("grant", "new"):
        details = refused(await play.try_issue(grant=grant), ErrorReason.REVOKED)
        assert (details["stop_reason"], details["note"]) == ("INCIDENT", "leak")
