"""Negative control of the differential test: stores with a planted defect, each of which it must catch.

Defects of the scope matcher have controls of their own in `test_scope_in_lua.py`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from grant_service.core.action import Action, Spending
from grant_service.core.errors import StoreFailed
from grant_service.core.fence import EVERYTHING, Fence, marks_of
from grant_service.core.grant import Grant
from grant_service.core.run import Run
from grant_service.store.sqlite_state import SqliteState
from tests.store.differential import Story, compare, tell
from tests.store.redis_rigs import RedisRig, changed
from tests.store.rigs import MemoryRig, Rig, SqliteRig
from tests.store.sequences import Step, sequences

#: A defect that shows in none of so many sequences is one that `make test` may miss.
ENOUGH = 500


@pytest.fixture(scope="module")
def stories(loop: asyncio.AbstractEventLoop, rigs: tuple[MemoryRig, list[Rig]]) -> list[Story]:
    """Sequences as the model plays them; always the same ones, so that this test does not depend on luck."""
    made: list[Story] = []

    @settings(max_examples=ENOUGH, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(sequences())
    def play(sequence: list[Step]) -> None:
        made.append(loop.run_until_complete(tell(sequence, rigs[0])))

    play()
    return made


Lua = Mapping[str, str]

ITSELF = "local reason, details = ended({ RUN_ID }, #KEYS, RUN_ID)"
STORED_PERMIT = """
if action and action.state == 'PERMITTED' then
  local left = math.max(0, tonumber(action.use_by) - NOW)
  return answer('PERMITTED', '1', action.fence, action.use_by, text(left))
end
local grant, refusal = authority(action, action)
"""

LUA_DEFECTS: dict[str, Lua] = {
    "the epoch is not asked": {
        "if run[2] ~= EPOCH then": "if false then",
        "if not reason and grant.epoch ~= EPOCH then": "if false then",
    },
    "the runs above are not asked at commit": {"local reason, details = ended(PATH, 5, RUN_ID)": ITSELF},
    "the runs above are not asked at issue": {"local reason, details = ended(PATH, 4, RUN_ID)": ITSELF},
    "the runs above are not asked at open": {
        "local reason, details = ended(PATH, PATH_AT, PARENT)": "local reason, details"
    },
    "the stored permit is told after cancel": {
        "local grant, refusal = authority(action, action)": STORED_PERMIT
    },
    "the prior decision is not told": {
        "details.prior_decision = 'PERMITTED'": "details.prior_decision = nil"
    },
    "cancel leaves no tombstone": {
        "local number, time = take_seq(), text(NOW)\n": "local number, time = take_seq(), text(NOW)\n"
        "if not run then return answer('CANCELLED', '0', 'CANCELLED', number, time, known) end\n"
    },
    "a second cancel moves the cut": {
        "if run and run.state ~= 'ACTIVE' then": "if run and run.state == 'FINISHED' then"
    },
    "a cancelled run's record expires": {"redis.call('PERSIST', RUN)": ""},
    "a cancelled run can finish": {
        "if run.state == 'CANCELLED' then return refused": "if false then return refused"
    },
    "uses are not counted": {"used[place] = text(tonumber(used[place]) + 1)": ""},
    "uses are not asked at commit": {"if limit > 0 and": "if false and"},
    "a grant's expiry is not asked": {
        "if NOW >= tonumber(grant.expire_time) then return nil": "if false then return nil"
    },
    "a permit outlives its grant": {
        "local use_by = math.min(NOW + use_ms, tonumber(grant.expire_time))": "local use_by = NOW + use_ms"
    },
    "a prepared action never expires": {"if NOW >= tonumber(action.expire_time)": "if false"},
    "a prepared action expires too late": {
        "if NOW >= tonumber(action.expire_time)": "if NOW > tonumber(action.expire_time)"
    },
    "a deadline is met too late": {"if NOW >= deadline then": "if NOW > deadline then"},
    "arguments may change": {"if action.digest ~= DIGEST then": "if false then"},
    "an op_id may change its meaning": {"if action[name] ~= value then": "if false then"},
    "any peer may use a grant": {"if grant.audience ~= PEER then": "if false then"},
    "any grant may use an action": {"if action.grant ~= GRANT_ID then": "if false then"},
    "a grant is found without its path": {"or grant.ancestors ~= ANCESTORS then": "then"},
    "what was never permitted can be settled": {
        "if state ~= 'PERMITTED' and state ~= 'UNKNOWN' then": "if false then"
    },
    "a known outcome can be changed": {"if state == 'SUCCEEDED' or state == 'FAILED' then": "if false then"},
    "time goes back": {"local NOW = math.max(CLOCK, floor)": "local NOW = CLOCK"},
    "time is kept by writes only": {"if NOW > floor then redis.call('HSET', META, 'now', text(NOW)) end": ""},
    "any clock is good": {"if behind > CLOCK_TOLERANCE_MS then": "if false then"},
    "the ceiling is not asked": {"if RANK[intent.reversibility] > RANK[scope[4]] then": "if false then"},
    "a full run takes more": {"if tonumber(run[1]) >= MAX_ACTIONS then": "if false then"},
    "runs may be too deep": {"if #PATH >= MAX_DEPTH then": "if false then"},
    "refusals are not on record": {"append(JOURNAL, 'REFUSED', unpack(data))": ""},
    "a grant has no expiry in Redis": {"redis.call('PEXPIREAT', GRANT, run.keep_until)": ""},
}


@pytest.mark.parametrize("defect", LUA_DEFECTS.values(), ids=LUA_DEFECTS.keys())
def test_a_defect_in_a_script_is_caught(
    defect: Lua, stories: list[Story], loop: asyncio.AbstractEventLoop, rigs: tuple[MemoryRig, list[Rig]]
) -> None:
    """A Redis store with one rule missing or wrong does not pass for the model."""
    (redis,) = (rig for rig in rigs[1] if isinstance(rig, RedisRig))
    right = dict(redis.scripts)
    loop.run_until_complete(redis.use_scripts(_planted(right, defect)))
    try:
        _assert_caught(loop, stories, redis)
    finally:
        loop.run_until_complete(redis.use_scripts(right))


def _planted(right: Mapping[str, Any], defect: Lua) -> dict[str, Any]:
    wrong = dict(right)
    for old, new in defect.items():
        assert any(old in script.text for script in right.values()), f"no script has the text {old!r}"
        wrong = {name: changed(script, old, new) for name, script in wrong.items()}
    return wrong


Method = Callable[..., Any]


def _put_but(forgotten: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Write everything but such records."""

    def planted(put: Method) -> Method:
        def wrong(state: SqliteState, record: Any) -> None:
            if not forgotten(record):
                put(state, record)

        return wrong

    return planted


def _put_as(changed: Callable[[Any], Any]) -> Callable[[Method], Method]:
    """Write records a little differently."""
    return lambda put: lambda state, record: put(state, changed(record))


def _without_notes(append: Method) -> Method:
    def wrong(state: SqliteState, run_id: str, kind: Any, data: Mapping[str, str]) -> int:
        return append(state, run_id, kind, {name: value for name, value in data.items() if name != "note"})

    return wrong


def _only_anchors(found: Callable[[str], bool]) -> Callable[[Method], Method]:
    """Find fences under such anchors only."""
    return lambda fences_at: lambda state, anchor: fences_at(state, anchor) if found(anchor) else []


def _own_marks(record: Any) -> Any:
    if not isinstance(record, Run) or not record.was_opened:
        return record
    own = marks_of(record.run_id, record.subject, record.agent, record.tenant, record.labels)
    return replace(record, marks=tuple(own))


def _reserved(record: Any) -> bool:
    return isinstance(record, Run | Grant) and any(one.reserved for one in record.budgets)


def _youngest_root(record: Any) -> Any:
    return replace(record, root_seq=record.issue_seq) if isinstance(record, Grant) else record


SQLITE_DEFECTS: dict[str, tuple[str, Callable[[Method], Method]]] = {
    "uses are not written": ("put", _put_but(lambda one: isinstance(one, Grant) and any(one.used))),
    "notes are not written": ("append", _without_notes),
    "no epoch is ever new": ("renew_epoch", lambda renew: lambda state, epoch: None),
    "spendings are not written": ("put", _put_but(lambda one: isinstance(one, Spending))),
    "what is held is not written": ("put", _put_but(_reserved)),
    "the end of a grant is not written": (
        "put",
        _put_but(lambda one: isinstance(one, Grant) and one.end_seq),
    ),
    "delegations are not counted": (
        "put",
        _put_as(lambda one: replace(one, delegations=0) if isinstance(one, Run) else one),
    ),
    "a grant forgets what it goes back to": ("put", _put_as(_youngest_root)),
    "a grant can always be handed on": (
        "put",
        _put_as(lambda one: replace(one, sealed=False) if isinstance(one, Grant) else one),
    ),
    "a run has no marks of those above": ("put", _put_as(_own_marks)),
    "no fence is found": ("fences_at", _only_anchors(lambda anchor: False)),
    "fences over actions are not found": (
        "fences_at",
        _only_anchors(lambda anchor: not anchor.startswith("action=")),
    ),
    "fences over everything are not found": ("fences_at", _only_anchors(lambda anchor: anchor != EVERYTHING)),
    "fences over grants are not found": (
        "fences_at",
        _only_anchors(lambda anchor: not anchor.startswith("grant=")),
    ),
    "no fence is let go": ("standing_fences", lambda standing: lambda state: []),
    "a fence that is let go is still found": (
        "put",
        _put_but(lambda one: isinstance(one, Fence) and not one.standing and not one.lift_seq),
    ),
    "a lift is not written": ("put", _put_but(lambda one: isinstance(one, Fence) and one.lift_seq)),
    "a yes is not written": (
        "put",
        _put_but(lambda one: isinstance(one, Action) and one.approval and one.state == "PREPARED"),
    ),
    "a no is not written": ("put", _put_but(lambda one: isinstance(one, Action) and one.state == "DENIED")),
    "an amendment is not written": (
        "put",
        _put_as(
            lambda one: (
                replace(one, approval=replace(one.approval, digest=""))
                if isinstance(one, Action) and one.approval
                else one
            )
        ),
    ),
}


@pytest.mark.parametrize(("method", "defect"), SQLITE_DEFECTS.values(), ids=SQLITE_DEFECTS.keys())
def test_a_defect_in_sqlite_is_caught(
    method: str,
    defect: Callable[[Any], Any],
    stories: list[Story],
    loop: asyncio.AbstractEventLoop,
    rigs: tuple[MemoryRig, list[Rig]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An embedded store that forgets to write or to look for something does not pass for the model."""
    (sqlite,) = (rig for rig in rigs[1] if isinstance(rig, SqliteRig))
    monkeypatch.setattr(SqliteState, method, defect(getattr(SqliteState, method)))
    _assert_caught(loop, stories, sqlite)


def _assert_caught(loop: asyncio.AbstractEventLoop, stories: list[Story], rig: Rig) -> None:
    for number, story in enumerate(stories):
        try:
            loop.run_until_complete(compare(story, [rig]))
        except (AssertionError, StoreFailed) as difference:
            print(f"caught by sequence {number}: {difference}")
            return
    pytest.fail(f"{len(stories)} sequences did not notice")
