"""Why: what refuses a run, a grant or an action is told in the words of the call that is refused."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grant_service.core.budget import Budget, Exhaustion
from grant_service.core.errors import ErrorReason, Refusal, Refused, explain
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.verbs import Open, Permitted
from grant_service.core.why import Why, why
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, refused
from tests.store.rigs import MemoryRig, copied

CAREFUL = (Scope("*", approval_from=Reversibility.IRREVERSIBLE),)


@pytest.fixture
async def play() -> Player:
    """Somebody to play on the model."""
    return Player(await MemoryRig.start())


async def reason(play: Player, run: str = "", grant: str = "", op: str = "") -> ErrorReason | None:
    """Why this is refused, in one word; the sentence has no gap, and nothing was written."""
    await play.store.standing()  # shows the time
    before = await play.rig.dump()
    found = await why(play.store, run, grant, op)
    assert (await play.rig.dump()).differences(before) == []
    if found.refusal is None:
        assert (found.fence is None) == (not found.remark)
        return None
    assert "?" not in explain(found.refusal)
    assert (found.refusal.reason is ErrorReason.FENCED) == (found.fence is not None)
    return found.refusal.reason


async def test_nothing_refuses_what_is_well(play: Player) -> None:
    """A run, its grant, and an action that could be committed now."""
    grant = await play.ready()
    done(await play.prepare(grant))
    assert await reason(play, "run") is None
    assert await reason(play, grant="grant") is None
    assert await reason(play, "run", op="op") is None
    assert await reason(play, grant="grant", op="op") is None
    assert await reason(play, "run", "grant", "op") is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("nobody", "", ""), ErrorReason.RUN_UNKNOWN),
        (("", "nothing", ""), ErrorReason.GRANT_UNKNOWN),
        (("run", "nothing", ""), ErrorReason.GRANT_UNKNOWN),
        (("run", "", "nothing"), ErrorReason.ACTION_UNKNOWN),
        (("", "grant", "nothing"), ErrorReason.ACTION_UNKNOWN),
        (("other", "", "op"), ErrorReason.ACTION_UNKNOWN),
        (("other", "grant", ""), ErrorReason.GRANT_UNKNOWN),
        (("other", "grant", "op"), ErrorReason.GRANT_UNKNOWN),
    ],
    ids=str,
)
async def test_what_is_not_there_is_refused_as_such(
    play: Player, asked: tuple[str, str, str], expected: ErrorReason
) -> None:
    """Nothing is told of one run's grant or action under another run's name."""
    done(await play.prepare(await play.ready()))
    await play.open("other")
    with pytest.raises(Refused) as caught:
        await why(play.store, *asked)
    assert caught.value.refusal.reason is expected
    assert "?" not in explain(caught.value.refusal)


async def test_why_a_run_gets_no_grant(play: Player) -> None:
    """Cancelled, finished, past its deadline, of another epoch, by itself or from above."""
    await play.open("top")
    for run in ("cancelled", "finished", "late"):
        await play.open(run, parent="top", ttl_ms=HOUR)
    await play.open("late below", parent="late")
    await play.cancel("cancelled", StopReason.INCIDENT)
    done(await play.finish("finished"))
    assert await reason(play, "cancelled") is ErrorReason.REVOKED
    assert await reason(play, "finished") is ErrorReason.RUN_FINISHED
    await play.rig.advance(HOUR)
    assert await reason(play, "late") is ErrorReason.RUN_DEADLINE
    found = await why(play.store, "late below", "", "")
    assert found.refusal
    assert (found.refusal.reason, found.refusal.details["ended_run"]) == (ErrorReason.RUN_DEADLINE, "late")
    await play.rig.renew_epoch("epoch-2")
    assert await reason(play, "top") is ErrorReason.STORE_EPOCH


async def test_why_a_grant_does_nothing_more(play: Player) -> None:
    """Expired, ended by its budget, below one that was, with a chain that is gone."""
    for_one = (Budget("usd", 1),)
    grant = await play.ready(ttl_ms=HOUR, budgets=for_one)
    await play.delegate(grant, "child")
    refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
    for name in ("grant", "child"):
        found = await why(play.store, "", name, "")
        assert found.refusal
        assert (found.refusal.reason, found.refusal.details["ended_grant"]) == (
            ErrorReason.GRANT_ENDED,
            "grant",
        )
    await play.issue(grant="short", ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    assert await reason(play, grant="short") is ErrorReason.GRANT_EXPIRED
    other = await play.issue(grant="other")
    await play.delegate(other, "below")
    play.rig.state.grants.pop("other")  # type: ignore[attr-defined]
    assert await reason(play, grant="below") is ErrorReason.GRANT_UNKNOWN


async def test_why_an_action_gets_no_permit(play: Player) -> None:
    """Every state but that of one that could be committed, and uses that are gone."""
    grant = await play.ready(scopes=(Scope("once.*", max_uses=1), *CAREFUL))
    free = await play.issue(grant="free")
    for op in ("permitted", "settled", "abandoned"):
        done(await play.prepare(free, op))
    await play.permit(free, "flying")
    done(await play.commit(free, "settled"))
    done(await play.settle(free, "settled"))
    done(await play.abandon(free, "abandoned"))
    done(await play.prepare(free, "expired", ttl_ms=1))
    for op in ("waits", "denied", "forgotten"):
        done(await play.prepare(grant, op, wait_ms=HOUR))
    done(await play.deny("denied"))
    done(await play.approve("forgotten", ttl_ms=1))
    for op in ("first", "second"):
        done(await play.prepare(grant, intent(op, "once.only")))
    done(await play.commit(grant, "first"))
    await play.rig.advance(1)
    expected = {
        "flying": ErrorReason.ALREADY_PERMITTED,
        "settled": ErrorReason.ALREADY_SETTLED,
        "abandoned": ErrorReason.ACTION_ABANDONED,
        "expired": ErrorReason.PREPARE_EXPIRED,
        "waits": ErrorReason.AWAITING_APPROVAL,
        "denied": ErrorReason.DENIED,
        "forgotten": ErrorReason.DENIED,
        "second": ErrorReason.USES_EXHAUSTED,
        "permitted": None,
    }
    assert {op: await reason(play, "run", op=op) for op in expected} == expected
    with_grant = {op: await reason(play, grant="grant", op=op) for op in ("waits", "second", "flying")}
    assert with_grant["flying"] is ErrorReason.WRONG_GRANT
    await play.rig.advance(HOUR)
    assert await reason(play, "run", op="waits") is ErrorReason.DENIED


async def test_why_names_the_fence(play: Player) -> None:
    """With its selector and since when; the one that blocks before the one that only killed."""
    grant = await play.ready()
    done(await play.prepare(grant))
    done(await play.revoke("run=run", fence="kills"))
    found = await why(play.store, "run", "", "op")
    assert found.refusal
    assert found.fence
    assert (found.refusal.details["fence"], found.fence.fence_id) == ("kills", "kills")
    assert found.refusal.details["selector"] == "run=run"
    await play.rig.advance(SECOND)
    done(await play.freeze(action="email.*", fence="some"))
    done(await play.freeze("run=run", fence="blocks"))
    assert (await why(play.store, "run", "", "")).fence == (await play.store.fences())[2]
    done(await play.lift("blocks"))
    assert (await why(play.store, "run", "", "")).fence == (await play.store.fences())[1]


async def test_a_grant_is_fenced_if_all_it_allows_is(play: Player) -> None:
    """By fences over actions, together; one over part of it is a remark."""
    await play.ready(scopes=(Scope("email.send"), Scope("file.*")))
    done(await play.freeze("run=run", action="calendar.*", fence="beside"))
    found = await why(play.store, "", "grant", "")
    assert (found.refusal, found.fence, found.remark) == (None, None, "")
    done(await play.freeze("run=run", action="email.*", fence="some"))
    found = await why(play.store, "", "grant", "")
    assert found.refusal is None
    assert found.fence
    assert found.fence.fence_id == "some"
    text = "nothing refuses it, but fence some (run=run action=email.*) stands over part of it"
    assert found.remark == text
    assert (await why(play.store, "run", "", "")).refusal is None
    done(await play.revoke("run=run", action="file.*", fence="rest"))
    found = await why(play.store, "", "grant", "")
    assert found.refusal
    assert (found.refusal.reason, found.refusal.details["fence"]) == (ErrorReason.FENCED, "some")


async def test_what_killed_earlier_grants_of_a_run_is_a_remark(play: Player) -> None:
    """A run that can be issued a new grant is not refused; a freeze that was lifted killed, too."""
    await play.ready()
    assert (await why(play.store, "run", "", "")).remark == ""
    done(await play.freeze("run=run"))
    assert (await why(play.store, "run", "", "")).refusal
    done(await play.lift())
    found = await why(play.store, "run", "", "")
    assert (found.refusal, found.fence) == (None, (await play.store.fences())[0])
    seq = (await play.store.fences())[0].seq
    assert found.remark == f"new grants can be issued; what was issued before entry {seq} is dead"
    await play.issue(grant="new")
    assert await reason(play, grant="new") is None


async def test_a_fence_over_one_grant_is_no_answer_for_others(play: Player) -> None:
    """Neither for another run nor for another grant of the same one."""
    grant = await play.ready()
    await play.issue(grant="well")
    await play.open("other")
    done(await play.freeze("grant=grant"))
    assert await reason(play, "run") is None
    assert await reason(play, "other") is None
    assert await reason(play, grant="well") is None
    assert await reason(play, grant=grant.grant_id) is ErrorReason.FENCED


async def test_a_fence_that_is_over_refuses_nothing(play: Player) -> None:
    """Nor one that came before the grant, if it does not block."""
    await play.open()
    done(await play.revoke("run=run", kill_ms=HOUR))
    await play.issue()
    assert await reason(play, grant="grant") is None
    assert (await why(play.store, "run", "", "")).remark  # older grants of it are dead
    await play.rig.advance(HOUR)
    assert (await why(play.store, "run", "", "")).remark == ""


RUNS, GRANTS, OPS = ("a", "b", "c"), ("g1", "g2", "g3", "g4"), ("o1", "o2", "o3")
SCOPES = (
    (Scope("*"),),
    (Scope("email.*", max_uses=1),),
    (Scope("email.send", approval_from=Reversibility.IRREVERSIBLE), Scope("*")),
)
BUDGETS = ((), (), (Budget("usd", 5),), (Budget("usd", 5, Exhaustion.REFUSE),))
ACTIONS = ("email.send", "file.delete")
MARKS = ("run=a", "run=b", "agent=x", "label=k=v", "grant=g1", "grant=g3")
one = st.sampled_from
moves = st.one_of(
    st.tuples(st.just("issue"), one(RUNS), one(GRANTS), one(SCOPES), one(BUDGETS), one([5 * SECOND, HOUR])),
    st.tuples(st.just("delegate"), one(GRANTS), one(GRANTS), one(SCOPES), one(["", "", *RUNS])),
    st.tuples(st.just("prepare"), one(GRANTS), one(OPS), one(ACTIONS), one([SECOND, 60 * SECOND])),
    st.tuples(st.just("prepare"), one(GRANTS), one(OPS), one(ACTIONS), one([SECOND, 60 * SECOND])),
    st.tuples(st.just("commit"), one(GRANTS), one(OPS)),
    st.tuples(st.just("perform"), one(GRANTS), one(OPS)),
    st.tuples(st.just("settle"), one(GRANTS), one(OPS)),
    st.tuples(st.just("abandon"), one(GRANTS), one(OPS)),
    st.tuples(st.just("spend"), one(GRANTS), one([1, 3, 9])),
    st.tuples(st.just("approve"), one(RUNS), one(OPS), one([SECOND, 60 * SECOND])),
    st.tuples(st.just("deny"), one(RUNS), one(OPS)),
    st.tuples(st.just("fence"), one(["revoke", "freeze"]), one(MARKS), one(["", "", "email.*"])),
    st.tuples(st.just("lift"), one([""])),
    st.tuples(st.just("end"), one(["cancel", "finish"]), one(RUNS)),
    st.tuples(st.just("wait"), one([1, SECOND, 5 * SECOND])),
)


class World:
    """A small world that anything may happen to."""

    def __init__(self, play: Player) -> None:
        self.play, self.refs, self.fences = play, dict[str, GrantRef](), 0
        #: What came of the questions: reasons by what was asked about.
        self.met: Counter[tuple[str, str]] = Counter()

    async def begin(self) -> None:
        """Three runs, one below another."""
        await self.play.open("a", ttl_ms=DAY)
        await self.play.open("b", parent="a", agent="x", labels={"k": "v"}, budgets=(Budget("usd", 9),))
        await self.play.open("c", ttl_ms=60 * SECOND)
        for run, grant, scopes in zip(("a", "a", "b", "c"), GRANTS, (*SCOPES, SCOPES[0]), strict=True):
            self.refs[grant] = await self.play.issue(run, scopes, grant=grant, budgets=BUDGETS[2])

    async def make(self, move: tuple[object, ...]) -> None:
        """Make a move; whether it is refused does not matter."""
        play, (what, *how) = self.play, move
        match what, how:
            case "issue", [str(run), str(grant), tuple(scopes), tuple(budgets), int(ttl)]:
                answer = await play.try_issue(run, scopes, ttl, grant, budgets=budgets)
                self._keep(answer)
            case "delegate", [str(above), str(grant), tuple(scopes), str(child)] if above in self.refs:
                told = Open(f"{child}-below", 0, DAY, agent="x") if child else None
                answer = await play.try_delegate(self.refs[above], grant, scopes, child=told)
                self._keep(answer)
            case "prepare", [str(grant), str(op), str(action), int(ttl)] if grant in self.refs:
                wanted = intent(op, action, costs=(("usd", 2),))
                await play.prepare(self.refs[grant], wanted, ttl_ms=ttl, wait_ms=ttl)
            case "commit", [str(grant), str(op)] if grant in self.refs:
                await play.commit(self.refs[grant], op)
            case "perform", [str(grant), str(op)] if grant in self.refs:
                await play.perform(self.refs[grant], op)
            case "settle", [str(grant), str(op)] if grant in self.refs:
                await play.settle(self.refs[grant], op)
            case "abandon", [str(grant), str(op)] if grant in self.refs:
                await play.abandon(self.refs[grant], op)
            case "spend", [str(grant), int(amount)] if grant in self.refs:
                self.fences += 1
                await play.spend(self.refs[grant], amount, f"s{self.fences}")
            case "approve", [str(run), str(op), int(ttl)]:
                await play.approve(op, run, ttl_ms=ttl)
            case "deny", [str(run), str(op)]:
                await play.deny(op, run)
            case "fence", [str(verb), str(mark), str(action)]:
                self.fences += 1
                await getattr(play, verb)(mark, action=action, fence=f"f{self.fences}")
            case "lift", _:
                await play.lift(f"f{self.fences}")
            case "end", [str(verb), str(run)]:
                await getattr(play, verb)(run)
            case "wait", [int(ms)]:
                await play.rig.advance(ms)

    def _keep(self, answer: object) -> None:
        if not isinstance(answer, Refusal):
            issued = answer.grant  # type: ignore[attr-defined]
            path = (issued.grant_id, issued.run_id, issued.ancestors)
            self.refs[issued.grant_id] = GrantRef(*path, issued.audience, "", issued.chain)

    async def ask(self) -> None:
        """Ask about everything there is, and compare with what the real call is answered."""
        for ref in self.refs.values():
            for op in OPS:
                await self._ask_about_action(ref, op)
            await self._ask_about_grant(ref)
        for run in RUNS:
            await self._ask_about_run(run)

    async def _ask_about_action(self, ref: GrantRef, op: str) -> None:
        told = await self._why(ref.run_id, ref.grant_id, op)
        with undone(self.play):
            answer = await self.play.commit(ref, op)
        if isinstance(told, Refused):
            assert isinstance(answer, Refusal)
            assert told.refusal.reason is ErrorReason.ACTION_UNKNOWN
            assert answer.reason in AUTHORITY | {ErrorReason.ACTION_UNKNOWN}
        elif told.refusal is None:
            assert isinstance(answer, Permitted), answer
            assert not answer.replayed
        elif told.refusal.reason is ErrorReason.ALREADY_PERMITTED and isinstance(answer, Permitted):
            assert answer.replayed
        else:
            assert isinstance(answer, Refusal), told
            assert answer == told.refusal
        self._met("action", told)

    async def _ask_about_grant(self, ref: GrantRef) -> None:
        told = await self._why("", ref.grant_id, "")
        assert isinstance(told, Why)
        with undone(self.play):
            answer = await self.play.prepare(ref, "new")
        if told.refusal is None:
            assert not isinstance(answer, Refusal) or answer.reason in OF_AN_ACTION, answer
        else:
            assert isinstance(answer, Refusal)
            assert answer.reason is told.refusal.reason
        self._met("grant", told)

    async def _ask_about_run(self, run: str) -> None:
        told = await self._why(run, "", "")
        assert isinstance(told, Why)
        with undone(self.play):
            answer = await self.play.try_issue(run, grant="new")
        if told.refusal is None:
            assert not isinstance(answer, Refusal), answer
        elif told.fence is None:
            assert isinstance(answer, Refusal)
            assert answer == told.refusal
        else:
            assert isinstance(answer, Refusal)
            assert answer.reason is ErrorReason.FENCED
        self._met("run", told)

    async def _why(self, run: str, grant: str, op: str) -> Why | Refused:
        try:
            return await why(self.play.store, run, grant, op)
        except Refused as refused:
            return refused

    def _met(self, asked: str, told: Why | Refused) -> None:
        found = told.refusal.reason.value if told.refusal else ""
        self.met[asked, found] += 1


@contextmanager
def undone(play: Player) -> Iterator[None]:
    """Take back what is done to a store in memory inside of it."""
    kept = play.store.state  # type: ignore[attr-defined]
    play.store.state = copied(kept)  # type: ignore[attr-defined]
    yield
    play.store.state = kept  # type: ignore[attr-defined]


#: Refused for the authority of a call, before anything is asked of an action.
AUTHORITY = {
    *(ErrorReason.REVOKED, ErrorReason.RUN_FINISHED, ErrorReason.RUN_DEADLINE, ErrorReason.RUN_UNKNOWN),
    *(ErrorReason.FENCED, ErrorReason.GRANT_ENDED, ErrorReason.GRANT_UNKNOWN, ErrorReason.STORE_EPOCH),
}
#: What may refuse an action under a grant that nothing refuses.
OF_AN_ACTION = {
    *(ErrorReason.FENCED, ErrorReason.OUT_OF_SCOPE, ErrorReason.USES_EXHAUSTED),
    *(ErrorReason.BUDGET_EXHAUSTED, ErrorReason.RUN_FULL),
}


async def ask_along(sequence: Iterable[tuple[object, ...]]) -> Counter[tuple[str, str]]:
    """Make the moves, and ask about everything after each."""
    world = World(Player(await MemoryRig.start()))
    await world.begin()
    for move in sequence:
        await world.make(move)
        await world.ask()
    return world.met


sequences = st.lists(moves, min_size=5, max_size=20)

#: In so many sequences everything that these tests are about has to happen.
ENOUGH = 60


@settings(max_examples=ENOUGH, deadline=None)
@given(sequences)
def test_why_agrees_with_the_call(sequence: list[tuple[object, ...]]) -> None:
    """Nothing refuses it exactly if the call is accepted; else the call is refused for what was told."""
    asyncio.run(ask_along(sequence))


def test_the_worlds_of_this_test_refuse_for_every_reason_it_is_about() -> None:
    """A control: a property that met only one answer would prove little."""
    counted: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=ENOUGH, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(sequences)
    def draw(sequence: list[tuple[object, ...]]) -> None:
        counted.update(asyncio.run(ask_along(sequence)))

    draw()
    assert min(counted[asked, ""] for asked in ("action", "grant", "run")) > 20
    met = {found for asked, found in counted if asked == "action"}
    assert met >= {
        *("REVOKED", "FENCED", "WRONG_GRANT", "ACTION_UNKNOWN", "ALREADY_PERMITTED", "AWAITING_APPROVAL"),
    }, met
