"""The scripts themselves: declared keys, validate first and write last, and scopes as Python reads them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources

import pytest
import redis

from grant_service.core import scope, verbs
from grant_service.core.action import ActionState
from grant_service.core.budget import Budget
from grant_service.core.duty import DutyKind
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.core.scope import DELIMITERS, Reversibility, Scope
from grant_service.store.keys import Keys
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import ALLOW_OOM, PARTS, scripts
from tests.redis.support import Desk, hosted, story, undoable
from tests.support.redis_server import RedisServer

LUA = resources.files("grant_service.store").joinpath("lua")
HOST = LUA.joinpath("_host.lua").read_text("utf-8")

#: Stands between a script and Redis: fails it for a key it has not declared, for reading after it has
#: written, and after FAIL_AT writes, as a Redis would that breaks half-way.
WATCH = """
local real, declared, writes = redis, {}, 0
for _, key in ipairs(KEYS) do declared[key] = true end
local READS = {
  HGET = true, HMGET = true, HGETALL = true, EXISTS = true, ZCARD = true, ZRANGEBYSCORE = true,
  ZREVRANGEBYSCORE = true, ZRANGEBYLEX = true, PEXPIRETIME = true, XRANGE = true,
}
local redis = { call = function(...)
  local name, key = ...
  if name == 'TIME' or name == 'INFO' then return real.call(...) end
  if not declared[key] then error('WATCH undeclared key ' .. key) end
  if READS[name] and writes > 0 then error('WATCH read after a write') end
  if not READS[name] then
    if writes == FAIL_AT then error('WATCH fails on purpose') end
    writes = writes + 1
  end
  return real.call(...)
end, pcall = function(name, channel, ...)
  if name ~= 'PUBLISH' or channel ~= KEYS[1] .. ':stops' then error('WATCH nothing else may fail unheard') end
  return real.pcall(name, channel, ...)
end }
"""
NEVER = "local FAIL_AT = -1\n"


async def test_scripts_touch_declared_keys_only_and_write_last(server: RedisServer) -> None:
    """Through the whole story no script uses a key it has not declared, or reads after it has written."""
    async with hosted(server, NEVER + WATCH + HOST) as store:
        told = await story(store)
    refused = {answer.reason for answer in told if isinstance(answer, Refusal)}
    assert len(refused) > 12, "the story must go through refusals, too"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("redis.call('HSET', KEYS[1], 'a', '1') redis.call('HGET', KEYS[1], 'a')", "read after a write"),
        ("redis.call('HGET', 'cm5:{p0}:run:other', 'a')", "undeclared key"),
        ("redis.pcall('HSET', KEYS[1], 'a', '1')", "nothing else may fail unheard"),
        ("redis.pcall('PUBLISH', 'other', '1')", "nothing else may fail unheard"),
    ],
)
def test_the_watch_would_notice(server: RedisServer, body: str, said: str) -> None:
    """The negative control of the test above."""
    with server.client() as client:
        with pytest.raises(redis.exceptions.ResponseError, match=said):
            client.eval(f"#!lua\n{NEVER}{WATCH}{body}", 1, Keys().meta)
        client.delete(Keys().meta)


perform_undoable = partial(Desk.perform, wanted=undoable("o-1"))
settle_with_handle = partial(Desk.settle, handle="job-1")
UNDO_ASKED = ("open", "issue", "effect", "finish", "undo")


async def perform_quickly(desk: Desk) -> None:
    """Let a permit run out that somebody can ask about."""
    await desk.perform(use_ms=1, wanted=undoable("o-1"))
    await asyncio.sleep(0.003)


async def began_a_job(desk: Desk) -> None:
    """Leave an action whose outcome is unknown, and which has begun a job."""
    await perform_undoable(desk)
    await desk.settle(outcome=ActionState.UNKNOWN, handle="job-1")


STEPS: dict[str, tuple[tuple[str, ...], Callable[[Desk], Awaitable[object]]]] = {
    "open": ((), Desk.open),
    "issue": (("open",), Desk.issue),
    "prepare": (("open", "issue"), Desk.prepare),
    "commit": (("open", "issue", "prepare"), Desk.commit),
    "perform": (("open", "issue"), Desk.perform),
    "settle": (("open", "issue", "perform"), Desk.settle),
    "abandon": (("open", "issue", "prepare"), Desk.abandon),
    "cancel": (("open", "issue", "prepare"), Desk.cancel),
    "finish": (("open", "issue"), Desk.finish),
    "delegate": (("open", "issue", "prepare"), Desk.delegate),
    "delegate to a child": (("open", "issue", "prepare"), partial(Desk.delegate, child="r-2")),
    "extend": (("open", "issue", "prepare"), Desk.extend),
    "spend": (("open", "issue", "prepare"), Desk.spend),
    "use up": (("open with a budget", "issue", "prepare"), partial(Desk.spend, amount=9)),
    "ask": (("open", "issue for asking"), Desk.prepare),
    "approve": (("open", "issue for asking", "prepare"), Desk.approve),
    "deny": (("open", "issue for asking", "prepare"), Desk.deny),
    "perform what can be asked": (("open", "issue"), perform_undoable),
    "commit what can be asked": (("open", "issue", "prepare undoable"), Desk.commit),
    "settle what can be called off": (("open", "issue", "perform what can be asked"), settle_with_handle),
    "settle another job": (("open", "issue", "began a job"), partial(Desk.settle, handle="job-2")),
    "settle what was resolved": (("open", "issue", "perform quickly", "resolve"), settle_with_handle),
    "resolve": (("open", "issue", "perform quickly"), Desk.resolve),
    "undo": (("open", "issue", "effect", "finish"), Desk.undo),
    "withdraw": (("open", "issue", "effect", "finish"), Desk.withdraw),
    "withdraw what was asked": (UNDO_ASKED, Desk.withdraw),
    "claim": (UNDO_ASKED, Desk.claim),
    "complete": ((*UNDO_ASKED, "claim"), Desk.complete),
    "fail": ((*UNDO_ASKED, "claim"), Desk.fail),
    "fail for good": ((*UNDO_ASKED, "claim"), partial(Desk.fail, final=True)),
}
FIRST: dict[str, Callable[[Desk], Awaitable[object]]] = {
    **{name: step for name, (_, step) in STEPS.items()},
    "open with a budget": partial(Desk.open, budgets=(Budget("usd", 5),)),
    "issue for asking": lambda desk: desk.issue(Scope("*", approval_from=Reversibility.READ_ONLY)),
    "prepare undoable": partial(Desk.prepare, wanted=undoable("o-1")),
    "perform quickly": perform_quickly,
    "effect": Desk.effect,
    "began a job": began_a_job,
}


async def broke(step: Awaitable[object]) -> bool:
    """Say whether the step failed, as a failing script is told."""
    try:
        await step
    except StoreFailed as failed:
        return failed.refusal.reason is ErrorReason.INTERNAL
    return False


@pytest.mark.parametrize("verb", STEPS)
async def test_a_script_that_breaks_between_two_writes_permits_nothing(
    server: RedisServer, store: RedisStore, verb: str
) -> None:
    """Break it before each of its writes: the caller hears no, the journal knows a permit, cancel works."""
    before, step = STEPS[verb]
    for fail_at in range(20):
        with server.client() as client:
            client.flushall()
        desk = Desk(store)
        for name in before:
            await FIRST[name](desk)
        async with hosted(server, f"local FAIL_AT = {fail_at}\n{WATCH}{HOST}") as breaking:
            if not await broke(step(Desk(breaking))):
                assert fail_at >= 2, (
                    "a script that takes a number and writes an entry has two writes at least"
                )
                return
        with server.client() as client:
            permitted = client.hget(Keys().action("r-1", "o-1"), "state") == ActionState.PERMITTED
            if verb.split()[0] in ("commit", "perform", "settle"):
                assert not permitted or "PERMITTED" in await desk.kinds()
            cut = client.hget(Keys().run("r-1"), "state") in ("CANCELLED", "FINISHED")
        if verb == "cancel" and fail_at >= 2:
            assert cut, "the run is ended before its journal says so, never the other way round"
        if verb == "deny":
            assert isinstance(await desk.deny(), verbs.Denied), "it is denied by then, or when asked again"
            assert isinstance(await desk.commit(), Refusal)
        assert (await desk.cancel()).replayed == cut
        assert isinstance(await desk.commit(), Refusal)
        assert isinstance(await desk.open(), Refusal)
        with server.client() as client:
            client.flushall()
    pytest.fail("the verb never got through")


#: What a verb about duties leaves: of which kind one is open then, if any.
LEFT = {
    "perform what can be asked": DutyKind.ASK,
    "commit what can be asked": DutyKind.ASK,
    "settle what can be called off": DutyKind.CALL_OFF,
    "settle another job": DutyKind.CALL_OFF,
    "settle what was resolved": DutyKind.CALL_OFF,
    "resolve": None,
    "undo": DutyKind.UNDO,
    "withdraw": None,
    "withdraw what was asked": None,
    "claim": DutyKind.UNDO,
    "complete": None,
    "fail": DutyKind.UNDO,
}


#: The jobs that can be called off then.
JOBS = {
    "settle what can be called off": ["job-1"],
    "settle another job": ["job-1", "job-2"],
    "settle what was resolved": ["job-1"],
}


@pytest.mark.parametrize("verb", LEFT)
async def test_a_verb_about_duties_that_breaks_between_two_writes_can_be_asked_again(
    server: RedisServer, store: RedisStore, verb: str
) -> None:
    """Break it before each of its writes: asked again it works, and the lists say what there is to do."""
    before, step = STEPS[verb]
    for fail_at in range(20):
        desk = Desk(store)
        for name in before:
            await FIRST[name](desk)
        async with hosted(server, f"local FAIL_AT = {fail_at}\n{WATCH}{HOST}") as breaking:
            is_broken = await broke(step(Desk(breaking)))
        if is_broken:
            again = await step(desk)
            assert not isinstance(again, Refusal), (fail_at, again)
        if LEFT[verb] is DutyKind.CALL_OFF:
            await desk.cancel()
        if is_broken and verb.split()[0] in ("settle", "resolve"):
            for duty in await store.open_duties(DutyKind.ASK, 10):  # whoever asks hears that it is known
                claim = verbs.Claim(duty.run_id, duty.op_id, duty.kind, "w", "l", 1000, 3)
                assert (await store.claim(claim)).reason is ErrorReason.DUTY_OVER
        left = {kind for kind in DutyKind if await store.open_duties(kind, 10)}
        jobs = [one.handle for one in await store.open_duties(DutyKind.CALL_OFF, 10)]
        assert jobs == JOBS.get(verb, []), fail_at
        assert left == ({LEFT[verb]} if LEFT[verb] else set()), fail_at
        with server.client() as client:
            client.flushall()
        if not is_broken:
            return
    pytest.fail("the verb never got through")


@pytest.mark.parametrize("set_fence", [Desk.revoke, Desk.freeze])
async def test_a_fence_that_breaks_between_two_writes_stands_when_it_is_set_again(
    server: RedisServer, store: RedisStore, set_fence: Callable[[Desk], Awaitable[object]]
) -> None:
    """Break it before each of its writes: set again it stands, whatever was written of it before."""
    for fail_at in range(20):
        with server.client() as client:
            client.flushall()
        desk = await Desk(store).ready()
        await desk.prepare()
        async with hosted(server, f"local FAIL_AT = {fail_at}\n{WATCH}{HOST}") as breaking:
            if not await broke(set_fence(Desk(breaking))):
                assert fail_at >= 5, "a fence has a number, a count, an anchor, a record and an entry"
                return
        assert isinstance(await set_fence(desk), verbs.Fenced)
        late = await desk.commit()
        assert isinstance(late, Refusal)
        assert late.reason is ErrorReason.FENCED
        assert late.details["fence"] in ("f-1", "f-2")
        with server.client() as client:
            client.flushall()
    pytest.fail("the verb never got through")


async def test_a_fence_whose_record_is_gone_permits_nothing(server: RedisServer, store: RedisStore) -> None:
    """An anchor that leads nowhere means that facts were lost; other fences can still be set."""
    desk = await Desk(store).ready()
    await desk.prepare()
    await desk.revoke()
    with server.client() as client:
        client.delete(Keys().fences)
    assert await broke(desk.commit())
    assert isinstance(await desk.freeze(fence="f-9"), verbs.Fenced)
    assert isinstance(await desk.cancel(), verbs.Cancelled)


def test_only_ending_and_reporting_may_use_the_last_memory() -> None:
    """Nothing that gives authority, or adds records, works in a full store."""
    for name, script in scripts().items():
        header = script.text.splitlines()[0]
        assert header == ("#!lua flags=allow-oom" if name in ALLOW_OOM else "#!lua")
    giving = {"open", "issue", "delegate", "prepare", "commit", "perform", "spend", "approve", "lift"}
    giving |= {"extend", "undo", "claim", "renew"}
    assert not ALLOW_OOM & giving


def test_every_verb_has_its_file_and_says_what_it_is() -> None:
    """One file a verb; its first lines are its purpose, its KEYS, its ARGV and its ANSWERS."""
    files = {path.name for path in LUA.iterdir() if not path.name.startswith("_")}
    assert files == {f"{name}.lua" for name in PARTS if name != "standing_when_full"}
    for name in {file.removesuffix(".lua") for file in files}:
        head = LUA.joinpath(f"{name}.lua").read_text("utf-8").partition("\n\n")[0]
        assert head.startswith(f"-- {name}.lua: ")
        assert all(line.startswith("-- ") for line in head.splitlines())
        for word in ("\n-- KEYS  ", "\n-- ARGV  ", "\n-- ANSWERS  "):
            assert word in head, (name, word)


async def test_a_run_is_refused_below_the_deepest_level(store: RedisStore) -> None:
    """Eight levels and no more, and the path of the deepest is found without being told."""
    parents: tuple[str, ...] = ()
    for level in range(8):
        desk = Desk(store, run=f"r-{level}", parents=parents, grant=f"g-{level}")
        assert isinstance(await desk.open(), verbs.Opened)
        parents = (*parents, desk.run)
    assert isinstance(await desk.issue(), verbs.Issued)
    assert isinstance(await desk.perform(), verbs.Permitted)
    deeper = await Desk(store, run="r-8", parents=parents).open()
    assert isinstance(deeper, Refusal)
    assert deeper.reason is ErrorReason.RUN_TOO_DEEP
    assert deeper.details == {"run": "r-8", "depth": "9", "limit": "8"}
    await Desk(store, run="r-0").cancel()
    late = await desk.perform("late")
    assert isinstance(late, Refusal)
    assert late.details["ended_run"] == "r-0"


async def test_refusals_are_counted_for_ever_but_kept_up_to_a_limit(store: RedisStore) -> None:
    """A tool that keeps asking cannot fill the store."""
    desk = await Desk(store).ready()
    await asyncio.gather(*(desk.commit("never-prepared") for _ in range(1005)))
    (run,) = await store.runs(["r-1"])
    assert run
    assert run.refusals == 1005
    assert (await desk.kinds()).count("REFUSED") == 1000


MATCH = """#!lua flags=no-writes
local function split(list) return {} end
%s
local told = {}
for i = 1, #ARGV, 2 do
  local matches = ARGV[i] ~= '' and (KIND == 'action' and action_matches or resource_matches)
  told[#told + 1] = matches(ARGV[i], ARGV[i + 1]) and 1 or 0
end
return told
"""


@pytest.mark.parametrize("kind", ["action", "resource"])
def test_scopes_match_as_in_python(server: RedisServer, kind: str) -> None:
    """Ten thousand patterns and names, near enough to match often: Lua and Python say the same."""
    dice = random.Random(kind)
    python = scope.action_matches if kind == "action" else scope.resource_matches
    alphabet = "ab.-_" if kind == "action" else "ab.*" + DELIMITERS[:4]
    pairs = [_pair(dice, alphabet) for _ in range(10_000)]
    told: list[int] = []
    parts = [LUA.joinpath(f"{name}.lua").read_text("utf-8") for name in ("_pattern", "_scope")]
    text = "\n".join([f"local KIND = '{kind}'", *parts])
    with server.client() as client:
        for start in range(0, len(pairs), 1000):
            words = [word for pair in pairs[start : start + 1000] for word in pair]
            told += client.eval(MATCH % text, 0, *words)
    expected = [int(python(pattern, name)) for pattern, name in pairs]
    assert told == expected
    assert 500 < sum(told) < 9_500, "both must happen often"


def _pair(dice: random.Random, alphabet: str) -> tuple[str, str]:
    name = "".join(dice.choices(alphabet.replace("*", ""), k=dice.randrange(1, 8)))
    start = dice.randrange(len(name) + 1)
    stop = dice.randrange(start, len(name) + 1)
    pattern = name[:start] + dice.choice(["*", "*", "", dice.choice(alphabet)]) + name[stop:]
    return dice.choice([pattern, pattern, "*", name]) or "*", dice.choice([name, name, name[:-1]])


async def test_the_scope_that_came_closest_names_the_rule(store: RedisStore) -> None:
    """Which rule forbids is told by the scope that got furthest, as in the model."""
    desk = await Desk(store).ready()
    grants = {
        "action": Scope("sms.*"),
        "resource": Scope("email.*", "mailto:other@*"),
        "ceiling": Scope("email.send", "mailto:*", ceiling=Reversibility.COMPENSABLE),
    }
    scopes: tuple[Scope, ...] = ()
    for rule, one in grants.items():
        scopes = (*scopes, one)
        desk.grant = f"g-{rule}"
        assert isinstance(await desk.issue(*scopes), verbs.Issued)
        answer = await desk.perform()
        assert answer.reason is ErrorReason.OUT_OF_SCOPE
        assert answer.details["rule"] == rule
