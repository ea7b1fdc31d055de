"""Negative control of the differential test: stores with a planted defect, each of which it must catch.

Defects of the scope matcher, and of narrowing, have controls of their own in `test_scope_in_lua.py` and
`test_narrow_in_lua.py`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from grant_service.core import verbs
from grant_service.core.action import OUTCOMES, Action, ActionState, Intent, Spending
from grant_service.core.budget import Budget
from grant_service.core.duty import MAX_JOBS, Duty, DutyKind
from grant_service.core.errors import StoreFailed
from grant_service.core.fence import EVERYTHING, Fence, marks_of, selector_of
from grant_service.core.grant import MAX_CHAIN, Grant
from grant_service.core.lifecycle import actions, duties, grants, jobs
from grant_service.core.run import Run, StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.sqlite_state import SqliteState
from tests.store.differential import Story, compare, tell
from tests.store.player import DAY, HOUR, SECOND, digest
from tests.store.redis_rigs import RedisRig, changed
from tests.store.rigs import MemoryRig, Rig, SqliteRig
from tests.store.sequences import LetGo, Move, NewEpoch, Step, Tell, Use, sequences, sequences_about

#: A defect that shows in none of so many sequences is one that `make test` may miss.
ENOUGH = 500

#: As many are enough where all of them are about what is wrong.
FEW = 150

Told = Callable[[str], list[Story]]


@pytest.fixture(scope="module")
def told(loop: asyncio.AbstractEventLoop, rigs: tuple[MemoryRig, list[Rig]]) -> Told:
    """Sequences about something as the model plays them; always the same ones: nothing depends on luck."""

    def play(sequence: list[Step]) -> Story:
        return loop.run_until_complete(tell(sequence, rigs[0]))

    @cache
    def tell_about(about: str) -> list[Story]:
        return [play(one) for one in (POINTED[about] if about in POINTED else _drawn(about))]

    return tell_about


def _drawn(about: str) -> list[list[Step]]:
    """Sequences of everything, or a few stories about one thing."""
    made: list[list[Step]] = []

    @settings(
        max_examples=FEW if about else ENOUGH,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
    )
    @given(sequences_about(about) if about else sequences())
    def draw(sequence: list[Step]) -> None:
        made.append(sequence)

    draw()
    return made


def _begun(
    *scopes: Scope, ttl_ms: int = HOUR, run_ms: int = DAY, budgets: tuple[Budget, ...] = ()
) -> list[Step]:
    """A run and a grant."""
    granted = verbs.Issue("g", "r", "tool", scopes or (Scope("*"),), ttl_ms, budgets)
    return [Tell("open", (verbs.Open("r", run_ms, DAY),)), Tell("issue", (granted,))]


def _use(verb: str, grant: str = "g", twist: str = "as issued", **args: Any) -> Use:
    return Use(verb, grant, twist, "tool", args)


def _perform(op: str, grant: str = "g", most: int = 9) -> Use:
    wanted = Intent(op, "email.send", "a/b", digest(), Reversibility.IRREVERSIBLE)
    return _use("perform", grant, intent=wanted, use_ms=1, max_actions=most, wait_ms=HOUR)


def _hand_on(above: str = "g", below: str = "h", **more: Any) -> Use:
    asked: dict[str, Any] = {
        "grant_id": below,
        "scopes": (Scope("email.*"),),
        "ttl_ms": DAY,
        "max_delegations": 9,
    }
    return _use("delegate", above, **asked | more)


def _settle_op(op: str, outcome: ActionState) -> Use:
    return _use("settle", op_id=op, outcome=outcome, receipt="", note="")


def _spend(op: str, amount: int = 1, most: int = 9) -> Use:
    return _use("spend", op_id=op, budget="usd", amount=amount, max_spendings=most)


def _freeze(name: str, *marks: str, action: str = "", ttl_ms: int = 0) -> Tell:
    why = (StopReason.INCIDENT, DAY)
    return Tell("freeze", (verbs.Freeze(name, selector_of(marks, action), *why, ttl_ms=ttl_ms),))


def _revoke(name: str, kill_ms: int = DAY) -> Tell:
    named = selector_of(["run=r"] if name != "f1" else ["run=other"])
    return Tell("revoke", (verbs.Revoke(name, named, StopReason.INCIDENT, kill_ms),))


def _lift(name: str) -> Tell:
    return Tell("lift", (verbs.Lift(name, "u-7", "mended"),))


_ENDS = [Tell("cancel", (verbs.Cancel("r", StopReason.INCIDENT),)), Tell("finish", (verbs.Finish("r"),))]
_LISTED = Tell("run_ids", (0, 9))
_SPENT = {"op_id": "o1", "budget": "usd", "amount": 1, "max_spendings": 9}
_FREEZES = [
    _freeze("f1"),
    _freeze("f1", action="email.*"),
    _freeze("f1", "grant=g"),
    _freeze("f1", "run=r", "subject=u-7"),
]


def _effect(grant: str = "g", probe: str = "", op: str = "o1", undo_ms: int = HOUR) -> Use:
    wanted = Intent(op, "email.send", "a/b", digest(), Reversibility.COMPENSABLE, "email.recall", probe=probe)
    return _use("perform", grant, intent=wanted, use_ms=SECOND, max_actions=9, wait_ms=HOUR, undo_ms=undo_ms)


def _settle(outcome: ActionState = ActionState.SUCCEEDED, handle: str = "", grant: str = "g") -> Use:
    told = {"receipt": "", "note": "", "handle": handle, "canceller": "job.stop" if handle else ""}
    return _use("settle", grant, op_id="o1", outcome=outcome, **told)


def _claim(kind: DutyKind, run: str = "r", lease: str = "l") -> Tell:
    return Tell("claim", (verbs.Claim(run, "o1", kind, "w", lease, SECOND, 99),))


def _fail(kind: DutyKind, final: bool = False) -> Tell:
    return Tell("fail", (verbs.Fail("r", "o1", kind, "l", SECOND, 99, final=final),))


def _complete(kind: DutyKind, outcome: str) -> Tell:
    return Tell("complete", (verbs.Complete("r", "o1", kind, "l", outcome),))


_UNKNOWN, _FAILED = ActionState.UNKNOWN, ActionState.FAILED
_UNDO, _CALL_OFF, _ANSWER = DutyKind
_CANCEL = Tell("cancel", (verbs.Cancel("r", StopReason.USER_STOP),))
_UNDO_IT = Tell("undo", (verbs.Undo("r", "o1"),))
_RESOLVED = Tell("resolve", (verbs.Resolve("r", "o1", ActionState.SUCCEEDED),))


def _open(run: str, parent: str) -> Tell:
    return Tell("open", (verbs.Open(run, HOUR, DAY, parent),))


def _issue_below(run: str) -> Tell:
    return Tell("issue", (verbs.Issue("h", run, "tool", (Scope("*"),), HOUR),))


def _intended(grant: str = "g", op: str = "o1") -> Use:
    wanted = Intent(op, "email.send", "a/b", digest(), Reversibility.COMPENSABLE, "email.recall")
    return _use("prepare", grant, intent=wanted, ttl_ms=SECOND, max_actions=9, wait_ms=HOUR, undo_ms=2 * HOUR)


def _mean(op: str = "o1", resource: str = "a/b", **costs: int) -> Use:
    """Prepare something for a second."""
    wanted = Intent(
        op, "email.send", resource, digest(), Reversibility.IRREVERSIBLE, costs=tuple(costs.items())
    )
    return _use("prepare", intent=wanted, ttl_ms=SECOND, max_actions=9, wait_ms=HOUR)


def _commit(
    grant: str = "g", said: str = digest(), use_ms: int = 1, peer: str = "tool", op: str = "o1"
) -> Use:
    return replace(_use("commit", grant, op_id=op, digest=said, use_ms=use_ms), peer=peer)


_BELOW = [_open("c", "r"), _issue_below("c")]

_LOOK = Tell("open_duties", (_CALL_OFF, 99))


def _issued_for(run: str) -> list[Step]:
    return [Tell("issue", (verbs.Issue(f"g-{run}", run, "tool", (Scope("*"),), HOUR),))]


def _jobs(run: str, grant: str = "g") -> list[Step]:
    """A run, with a grant, has a job that can be called off."""
    return [_effect(grant), _settle(handle=f"h-{run}", grant=grant)]


_ASK = (Scope("*", approval_from=Reversibility.READ_ONLY),)
_AGREED = Tell("approve", (verbs.Approve("r", "o1", digest("x"), HOUR),))
_AMENDED = Tell("approve", (verbs.Approve("r", "o1", digest(), HOUR, "u-7", "", '{"a":1}', digest("x")),))

#: Sequences that random ones are rarely like, each about one thing that may be wrong.
POINTED: dict[str, list[list[Step]]] = {
    "always": [
        [*_begun(), *[_hand_on(*pair) for pair in pairwise(["g", *map(str, range(MAX_CHAIN))])]],
        [
            *_begun()[:1],
            Tell("issue", (verbs.Issue("g", "r", "tool", (Scope("*"),), HOUR, sealed=True),)),
            _hand_on(),
        ],
        [*_begun(), _perform("o1"), *_ENDS, _perform("o1"), *_ENDS, _settle_op("o1", ActionState.FAILED)],
        [*_begun(), *[_settle_op("o1", one) for one in ActionState if one in OUTCOMES]],
        [*_begun(), _perform("o1"), *[_settle_op("o1", one) for one in ActionState if one in OUTCOMES]],
        [
            *_begun(),
            *[_use("spend", "g", twist, **_SPENT) for twist in ("no path", "longer chain", "no chain")],
        ],
        [*_begun(), NewEpoch(), _perform("o1")],
        [*_begun(Scope("*", max_uses=1)), _mean(), _mean("o2"), _commit(), _commit(op="o2")],
        [*_begun(budgets=(Budget("usd", 5),)), _spend("o1", 3), _spend("o2", 3), _perform("o1")],
        [*_begun(ttl_ms=SECOND), _mean(), _commit(use_ms=HOUR)],
        [*_begun(), _mean(), _mean(resource="a/c"), _commit(said=digest("x")), _commit(peer="thief")],
        [*_begun(), _issue_below("r"), _mean(), _commit("h"), _settle_op("o1", ActionState.SUCCEEDED)],
        [*_begun(), _mean(), Move(SECOND), _commit()],
        [*_begun(budgets=(Budget("usd", 5),)), _mean(usd=4), _spend("o1", 4), _mean("o2", usd=4), _commit()],
        [*_begun(), _revoke("f2"), _issue_below("r"), _perform("o1", "h")],
        [*_begun(), _revoke("f2"), *_begun()[1:], _perform("o1"), _lift("f2")],
        *[[*_begun(), fence, _perform("o1"), _lift("f1"), _lift("f1"), _perform("o1")] for fence in _FREEZES],
    ],
    "deadline": [[*_begun(run_ms=SECOND), Move(SECOND), _perform("o1")]],
    "let go": [
        [*_begun(), LetGo("r"), _perform("o1")],
        [*_begun(), _ENDS[0], LetGo("r", late=True), LetGo("r"), LetGo("r"), *_ENDS, _LISTED],
        *[[*_begun(run_ms=SECOND), Move(SECOND), LetGo("r"), end, LetGo("r"), _LISTED] for end in _ENDS],
        *[[*_begun(run_ms=SECOND), Move(SECOND), LetGo("r"), end] for end in _ENDS],
    ],
    "expired": [[*_begun(ttl_ms=SECOND), Move(SECOND), _perform("o1")]],
    "full": [[*_begun(), _perform("o1"), _perform("o2", most=1), _spend("o1"), _spend("o2", most=1)]],
    "frozen": [
        [*_begun(), _freeze("f1", "run=r", ttl_ms=SECOND), Move(SECOND), *_begun()[1:], _hand_on()],
        [*_begun(), _freeze("f1", "run=r"), _freeze("f2", "grant=g"), _perform("o1")],
        [*_begun(), _freeze("f1", "run=r", action="sms.*"), _perform("o1")],
        [*_begun(), _freeze("f1", action="email.send"), _perform("o1")],
        [*_begun()[:1], _freeze("f1", "run=r"), *_begun()[1:]],
    ],
    "tidied": [
        [_revoke("f1", 1), Move(SECOND), _revoke("f2"), _revoke("f3", DAY + 1), *_begun(), _perform("o1")]
    ],
    "said": [
        [*_begun(*_ASK), _perform("o1"), _AGREED, _perform("o1")],
        [*_begun(*_ASK), _perform("o1"), Tell("deny", (verbs.Deny("r", "o1"),))],
        [*_begun(*_ASK), _perform("o1"), _AMENDED, _perform("o1")],
    ],
    "below": [
        [*_begun(ttl_ms=SECOND), _hand_on()],
        [*_begun(budgets=(Budget("usd", 5),)), _hand_on(budgets=(Budget("usd", 6),))],
        [*_begun(budgets=(Budget("usd", 5),)), _hand_on(), _spend("o1", 6), _perform("o1", "h")],
        [*_begun(Scope("*", max_uses=1)), _hand_on(), _perform("o1", "h"), _perform("o2")],
    ],
    "stopped above": [
        [
            *[*_begun(), *_BELOW, _effect("h"), _settle(handle="h-1", grant="h")],
            *[Tell("finish", (verbs.Finish("c"),)), _CANCEL, _claim(_CALL_OFF, "c")],
        ],
        [
            *[*_begun(), _open("c", "r"), _open("d", "c"), _issue_below("d")],
            *[_effect("h"), _settle(handle="h-1", grant="h")],
            Tell("cancel", (verbs.Cancel("c", StopReason.USER_STOP),)),
            *[Tell("finish", (verbs.Finish("r"),)), _claim(_CALL_OFF, "d")],
        ],
    ],
    "lost": [
        [*_begun(), *before, _intended(), *since, _UNDO_IT, _RESOLVED, Move(HOUR), _RESOLVED, _UNDO_IT]
        for before, since in (
            ([], [NewEpoch()]),
            ([], [NewEpoch(), _CANCEL]),
            ([], [_CANCEL, NewEpoch()]),
            ([], [_CANCEL]),
        )
    ]
    + [
        [
            *[*_begun(), *_BELOW, _intended("h"), *since, Move(HOUR)],
            Tell("resolve", (verbs.Resolve("c", "o1", ActionState.SUCCEEDED),)),
        ]
        for since in ([_CANCEL, NewEpoch()], [NewEpoch(), _CANCEL])
    ]
    + [[*_begun(*_ASK), _intended(), NewEpoch(), Move(2 * HOUR), _RESOLVED]],
    "found": [
        *[
            [*_begun(run_ms=run_ms), *_jobs("r"), *since, _LOOK, *after, _LOOK]
            for run_ms, since, after in (
                (DAY, [], [_CANCEL]),
                (DAY, [_LOOK, _CANCEL], []),
                (SECOND, [Move(SECOND)], [Tell("finish", (verbs.Finish("r"),)), _claim(_CALL_OFF)]),
                (DAY, [NewEpoch()], []),
                (DAY, [_LOOK, NewEpoch()], []),
                (DAY, [Tell("finish", (verbs.Finish("r"),))], []),
            )
        ],
        [*_begun(run_ms=SECOND), _LOOK, *_jobs("r"), Move(SECOND), _LOOK],
        [*_begun(), _LOOK, _effect(), _CANCEL, _settle(handle="h-1"), _LOOK],
        [
            *[*_begun(), _open("r-x", ""), *_issued_for("r-x"), *_BELOW, *_jobs("c", "h")],
            *[_effect("g-r-x"), _settle(handle="h-1", grant="g-r-x"), _LOOK, _CANCEL, _LOOK],
        ],
        [
            *[*_begun(run_ms=SECOND), *_BELOW, *_jobs("c", "h"), *_jobs("r"), _LOOK],
            *[Tell("finish", (verbs.Finish("c"),)), Move(SECOND), _LOOK],
        ],
        [
            _LOOK,
            Tell("open", (verbs.Open("lim", HOUR, DAY, budgets=(Budget("usd", 1),)),)),
            *[_open("low", "lim"), *_issued_for("low"), *_jobs("low", "g-low")],
            *[_use("spend", "g-low", op_id="s", budget="usd", amount=5, max_spendings=9), _LOOK],
        ],
    ],
    "resolved early": [
        [*_begun(), one, *since, _RESOLVED]
        for one in (_effect(), _intended())
        for since in ([], [_use("abandon", op_id="o1", note="")])
    ],
    "tried often": [
        [*_begun(), _effect(probe="p", undo_ms=1)],
        [*_begun(), _effect(probe="p"), Move(HOUR), _claim(_ANSWER)],
        [*_begun(), _effect(probe="p"), _claim(_ANSWER), Move(SECOND - 1), _claim(_ANSWER)],
        [*_begun(), _effect(probe="p"), Move(SECOND)]
        + [step for n in range(9) for step in (_claim(_ANSWER), _fail(_ANSWER), Move(SECOND << min(n, 6)))],
    ],
    "told late": [
        [*_begun(), _effect(), _settle(_FAILED, "h-1")],
        [*_begun(), _effect(), _settle(_UNKNOWN, "h-1"), _CANCEL, _claim(_CALL_OFF), _settle(handle="h-1")],
        [
            *[*_begun(), _effect(probe="p"), Move(SECOND), _claim(_ANSWER), _fail(_ANSWER, final=True)],
            *[_settle(), _complete(_ANSWER, "FAILED")],
        ],
    ],
    "too many jobs": [
        [
            *[*_begun(), _effect(), *[_settle(_UNKNOWN, f"h-{number}") for number in range(MAX_JOBS + 1)]],
            *[_settle(handle="the last"), _settle(handle="the last")],
        ],
    ],
    "afresh": [
        [
            *_begun(),
            _effect(),
            _settle(),
            _CANCEL,
            _UNDO_IT,
            _claim(_UNDO),
            *some,
            _UNDO_IT,
            _claim(_UNDO, lease="m"),
        ]
        for some in ([_fail(_UNDO, final=True)], [NewEpoch()])
    ]
    + [[*_begun(), _effect(), _settle(), _CANCEL, _UNDO_IT, NewEpoch(), _claim(_UNDO)]],
    "in turn": [
        [
            *[*_begun(), _effect(), _settle(), _effect(op="o2"), _settle_op("o2", ActionState.SUCCEEDED)],
            *[_CANCEL, _UNDO_IT, Tell("undo", (verbs.Undo("r", "o2"),)), _claim(_UNDO)],
        ],
        [*_begun(), _effect(), _settle(_UNKNOWN), _CANCEL, _UNDO_IT, _claim(_UNDO)],
        [
            *[*_begun(), _effect(), _settle(_UNKNOWN), _CANCEL, _UNDO_IT],
            Tell("resolve", (verbs.Resolve("r", "o1", _FAILED),)),
        ],
    ],
    "not to be undone": [
        [*_begun(), _effect(), _settle(_FAILED), _CANCEL, _UNDO_IT],
        [*_begun(), _effect(), _settle(), _CANCEL, Move(HOUR), _UNDO_IT],
        [*_begun(), _effect(), _settle(), _CANCEL, Tell("withdraw", (verbs.Withdraw("r", "o1"),)), _UNDO_IT],
        [
            *[*_begun(), _effect(), _settle(), _CANCEL, _UNDO_IT, _claim(_UNDO), _complete(_UNDO, "DONE")],
            Tell("withdraw", (verbs.Withdraw("r", "o1"),)),
        ],
    ],
}


Lua = Mapping[str, str]

ABOVE = "local reason, details = ended(PATH, RUNS_AT, RUN_ID, OWNERS)"
ITSELF = "local reason, details = ended({ RUN_ID }, REST - 1, RUN_ID, OWNERS)"
STORED_PERMIT = """
if action and action.state == 'PERMITTED' then
  local given = redis.call('HMGET', ACTION, 'fence', 'use_by')
  return answer('PERMITTED', '1', given[1], given[2], text(math.max(0, tonumber(given[2]) - NOW)), '')
end
local grant, refusal = authority(action, action)
"""

LAST = "for level = #GRANTS, #GRANTS, -1 do"
LET_GO = "if held then let_go(costs, tonumber(action.expire_time)) end"

LUA_DEFECTS: dict[str, Lua] = {
    "the epoch is not asked": {
        "if run[2] ~= EPOCH then": "if false then",
        "if grant.epoch ~= EPOCH then": "if false then",
    },
    "the runs above are not asked at commit": {ABOVE: ITSELF},
    "the runs above are not asked at issue": {
        "local reason, details = ended(PATH, 6, RUN_ID, OWNERS)": "local reason, details = nil, nil"
    },
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
    "a cancelled run's record expires": {"redis.call('PERSIST', key)": ""},
    "a cancelled run can finish": {
        "if run.state == 'CANCELLED' then return refused": "if false then return refused"
    },
    "uses are not counted": {"used[place] = text(tonumber(count) + 1) .. '/' .. limit": ""},
    "uses are not asked at commit": {"if tonumber(count) >= tonumber(limit) then return false end": ""},
    "a permit outlives its grant": {
        "local use_by = math.min(NOW + use_ms, tonumber(grant.expire_time))": "local use_by = NOW + use_ms"
    },
    "a prepared action never expires": {"if NOW >= tonumber(action.expire_time)": "if false"},
    "a prepared action expires too late": {
        "if NOW >= tonumber(action.expire_time)": "if NOW > tonumber(action.expire_time)"
    },
    "arguments may change": {"or action.said_digest) ~= DIGEST then": "or action.said_digest) == '' then"},
    "an op_id may change its meaning": {"if (stored[name] or action[name]) ~= value then": "if false then"},
    "any peer may use a grant": {"if PEER ~= '' and grant.audience ~= PEER then": "if false then"},
    "any grant may use an action": {"if action.grant ~= GRANT_ID then": "if false then"},
    "a grant is found without its path": {"or grant.ancestors ~= ANCESTORS": ""},
    "a grant is found without its chain": {"or grant.chain ~= CHAIN then": "then"},
    "what was never permitted can be settled": {
        "if not again and state ~= 'PERMITTED' and state ~= 'UNKNOWN' then": "if false then"
    },
    "a known outcome can be changed": {
        "if not again and (state == 'SUCCEEDED' or state == 'FAILED') then": "if false then"
    },
    "time goes back": {"local NOW = math.max(CLOCK, floor)": "local NOW = CLOCK"},
    "time is kept by writes only": {"if NOW > floor then redis.call('HSET', META, 'now', text(NOW)) end": ""},
    "any clock is good": {"if behind > CLOCK_TOLERANCE_MS then": "if false then"},
    "runs may be too deep": {"if #PATH >= MAX_DEPTH then": "if false then"},
    "refusals are not on record": {"append(JOURNAL, 'REFUSED', unpack(data))": ""},
    "a grant that has ended is not asked": {"if grant.end_seq ~= '0' then": "if false then"},
    "no fence is asked at commit": {"if not reason and ANY_FENCE then": "if false then"},
    "a revoke kills what comes later": {"if root_seq >= tonumber(fence.seq) and": "if false and"},
    "a revoke kills nothing": {
        "if root_seq >= tonumber(fence.seq) and not blocks(fence)": "if not blocks(fence)"
    },
    "one mark is enough for a fence": {"if not string.find(lines, ": "if false and not string.find(lines, "},
    "a fence is not found": {"table.insert(lists[anchor], FENCE_ID)": ""},
    "a commit sees no fence": {"redis.call('HSET', META, 'standing', text(standing))": ""},
    "a sealed grant is handed on": {"if kept[1] ~= '' then": "if false then"},
    "chains may be too deep": {"if #LINKS >= MAX_CHAIN then": "if false then"},
    "a run is not listed": {"redis.call('ZADD', keys.active, number, run_id)": ""},
    "a grant has no expiry in Redis": {"redis.call('PEXPIREAT', GRANT, run.keep_until)": ""},
}

#: Defects that sequences about something have to show, and few of all sequences may.
FOCUSED: dict[str, dict[str, Lua]] = {
    "run_out": {
        "budgets are not asked": {"if asked > left(budget) then": "if false then"},
        "nothing is held": {"hold_for(INTENT.costs, tonumber(expire))": ""},
        "what was held is taken twice": {LET_GO: ""},
        "what was held is not given back": {"let_go(costs, tonumber(action.expire_time))\n  write": "write"},
        "what was held is held too long": {"if slot.stop > NOW then sum": "if slot.stop > NOW - 1 then sum"},
        "what was held is free too early": {
            "math.ceil(expire_time / SLOT_MS)": "math.floor(expire_time / SLOT_MS)"
        },
        "an action costs nothing by itself": {"local wanted = { tool_calls = 1 }": "local wanted = {}"},
        "nothing is taken": {"budget.taken = math.min(budget.taken + amount, MOST_TAKEN)": "amount = 0"},
        "a budget that has run out ends nothing": {"if short.ends then end_owner(owner, budget) end": ""},
        "a budget that refuses ends its owner": {"budget.policy == 'CANCEL' and": ""},
        "a budget ends its owner while some is held": {"budget.taken + asked > budget.limit": "true"},
        "more than is left can be spent": {"if short[1] and INCURRED == '' then": "if false then"},
        "nothing is told of what is left at settle": {"after_cut, remaining(), job": "after_cut, '', job"},
        "nothing is told of what came back": {
            "answer('ABANDONED', '0', number, remaining())": "answer('ABANDONED', '0', number, '')"
        },
        "what is issued is told of its own budgets only": {
            "ended(PATH, 6, RUN_ID, OWNERS)": "ended(PATH, 6, RUN_ID)"
        },
        "what is issued is not told of its own budgets": {"  add_budgets(budgets)\n  open": "  open"},
        "what is incurred can be refused": {"if short[1] and INCURRED == '' then": "if short[1] then"},
    },
    "hand_on": {
        "a delegated grant has another root": {
            "ttl_ms = TTL_MS, root_seq = root_seq": "ttl_ms = TTL_MS, root_seq = number"
        },
        "a tree takes any number of delegations": {">= tonumber(MAX_DELEGATIONS) then": "< 0 then"},
        "delegations are not counted": {"redis.call('HINCRBY', root, 'delegations', 1)": ""},
        "what is delegated is not told of its own budgets": {"  add_budgets(budgets)\n  open": "  open"},
        "what is delegated is not told of its run's budgets": {
            "if run then add_budgets(run.budgets) end": ""
        },
        "a run below has no marks of those above": {"local marks = above": "local marks = ''"},
    },
    "outlast": {
        "what was killed long ago is extended": {"if told.kind ~= 'LIFTED' then": "if false then"},
        "what a fence killed in part is extended": {
            "local meets = fence.action == ''": "local meets = false"
        },
        "what was lifted has killed nothing": {
            "if told.kind ~= 'LIFTED' then": "if told.kind == 'REVOKED' then"
        },
        "what was killed before the grant was issued counts": {
            "FENCES_JOURNAL, '(' .. root_seq .. '-0', '+'": "FENCES_JOURNAL, '-', '+'"
        },
        "what was handed on outlasts what it comes from": {"expire_time = math.min(expire_time, above)": ""},
        "what comes from an expired grant is extended": {
            "if NOW >= above then return": "if false then return"
        },
        "a grant is extended past its run": {
            "math.min(NOW + tonumber(TTL_MS), tonumber(run.deadline))": "NOW + tonumber(TTL_MS)"
        },
        "only what has not expired is extended": {
            "local expire_time = math.min(NOW + tonumber(TTL_MS)": (
                "if NOW >= tonumber(cleared.expire_time) then return refuse('GRANT_EXPIRED') end\n"
                "local expire_time = math.min(NOW + tonumber(TTL_MS)"
            )
        },
        "nothing but the grant is asked": {
            "cleared, refusal = authority(nil, nil)": "cleared, refusal = own_grant(nil)"
        },
        "the epoch of the grant is not asked": {
            "if grant.epoch ~= EPOCH then": "if false then",
            "if run[2] ~= EPOCH then": "if false then",
        },
        "an extension takes time away": {
            "if expire_time <= tonumber(grant.expire_time) then": "if false then"
        },
        "an extension is not on record": {
            "append(JOURNAL, 'EXTENDED', 'grant', GRANT_ID, 'expire', grant.expire_time)": ""
        },
        "an extension is not kept": {"redis.call('HSET', GRANT, 'expire_time', grant.expire_time)": ""},
    },
    "let go": {
        "what goes on is let go of": {"if not ended(PATH, PATH_AT, RUN_ID) or not last": "if not last"},
        "what was written to since is let go of": {"or last[1] ~= LAST_SEQ .. '-0' then": "then"},
        "what was let go of is still listed": {"redis.call('ZREM', RUNS, RUN_ID)": ""},
        "what was let go of keeps its marks": {
            "run.labels, run.marks, run.budgets = '', '', ''": "run.labels, run.budgets = '', ''"
        },
        "what was let go of cannot be finished": {
            "if run.marks == '' then -- it was archived": "if false then"
        },
        "the line of a late end stays for ever": {"redis.call('PEXPIREAT', journal, keep_until)": ""},
    },
    "thaw": {
        "a lifted freeze goes on": {"and fence.lift_time == '0' and lasts": "and lasts"},
    },
    "ask": {
        "nobody has to agree": {"local demand = found[5]": "local demand = ''"},
        "an action is committed while it waits": {
            "if action.state == 'AWAITING_APPROVAL' then return refuse": "if false then return refuse"
        },
        "an approval lasts too long": {"NOW >= tonumber(action.said_until) then": "false then"},
        "an approval comes too late": {
            "or NOW >= tonumber(action.expire_time) then\n  return not": "then return not"
        },
        "an amendment is not asked at commit": {"(action.said_digest == '' and": "(true and"},
        "a denial changes nothing": {
            "redis.call('HSET', ACTION, 'state', 'DENIED'": "redis.call('HSET', ACTION, 'op', OP"
        },
        "an approval cannot be taken back": {"and not (state == 'PREPARED' and said) then": "then"},
        "polling is on record": {"reason ~= 'AWAITING_APPROVAL' and redis.call": "redis.call"},
    },
    "expired": {
        "a grant's expiry is not asked": {
            "if NOW >= tonumber(grant.expire_time) then return nil": "if false then return nil"
        },
    },
    "duty": {
        "effects are undone in their order": {
            "'ZREVRANGEBYSCORE', LISTS.UNDO, '+inf', '-inf'": "'ZRANGEBYSCORE', LISTS.UNDO, '-inf', '+inf'"
        },
        "a duty is taken from whoever has it": {
            "if ms_left > 0 then\n  if": "if ms_left > 0 and duty.lease == LEASE then\n  if"
        },
        "anybody may finish a duty": {
            "if duty.lease ~= LEASE then\n    return refuse_duty('LEASE_LOST'": (
                "if false then\n    return refuse_duty('LEASE_LOST'"
            )
        },
        "what goes on is called off": {"if not was_cut_off(there) then": "if false then"},
        "attempts are not counted": {"text(attempts + 1)": "text(attempts)"},
        "a duty is tried for ever": {
            "if attempts >= MAX_ATTEMPTS then return over": "if false then return over",
            "or attempts >= MAX_ATTEMPTS then": "then",
        },
        "a lease outlives its duty": {
            "text(math.min(NOW + lease_ms, tonumber(duty['until'])))": "text(NOW + lease_ms)"
        },
        "a failed attempt is tried again at once": {"text(NOW + RETRY_MS * 2 ^": "text(NOW + 0 * 2 ^"},
        "a failure is heard twice": {"if duty.failed_lease == LEASE then": "if false then"},
        "giving up is heard twice": {"give_up(duty, NOTE, LEASE)": "give_up(duty, NOTE)"},
        "a final failure is not final": {"if FINAL ~= '' or attempts": "if attempts"},
        "who failed keeps the duty": {
            "'due', due, 'worker', '', 'lease', '', 'lease_until', '0',": "'due', due,"
        },
        "a refusal is an acknowledgement": {"OUTCOME == 'REFUSED' and 'REFUSED' or 'DONE'": "'DONE'"},
        "an end leaves a duty on its list": {
            "redis.call('ZREM', LISTS[kind_of(which)], listed_as(which))": ""
        },
        "nobody may ask": {"if goes then -- somebody may ask": "if false then --"},
        "an active run is undone": {"if there and not ended(PATH, RUNS_AT, RUN_ID) then": "if false then"},
        "an undo is asked for twice": {"if duty and (duty.state == 'DONE' or (duty": "if false and ((duty"},
        "what was taken back can be claimed": {"'UNDO', 'state', 'WITHDRAWN'": "'UNDO', 'state', 'OPEN'"},
        "what is known is resolved otherwise": {
            "if state ~= OUTCOME then return refused('ALR": "if false then return refused('ALR"
        },
    },
    "lost": {
        "what may be lost is never resolved": {"if not may_lack_entries(there) then": "if true then"},
        "what was never permitted is resolved": {"if not may_lack_entries(there) then": "if false then"},
        "a lost permit in use is resolved": {"tonumber(action.expire_time) + RECENT_MS": "0"},
        "what is resolved still waits": {
            "if state == 'AWAITING_APPROVAL' then redis.call('ZREM', K": "if false then redis.call('ZREM', K"
        },
        "what ended first may lack entries": {"of_another_epoch and not ended_first": "of_another_epoch"},
        "runs above may not lack entries": {"for i = RUNS_AT, #KEYS do": "for i = #KEYS, #KEYS do"},
        "an end in a later epoch came first": {"and run.end_epoch == run.epoch then": "then"},
        "what may be lost did not happen": {
            "if NOT_PERMITTED[action.state] and may_lack_entries(there) then": "if false then"
        },
        "what is found out has no place in the order": {
            "action.fence == '0' and number or action.fence": "action.fence"
        },
    },
    "resolved early": {
        "a permit in use is resolved": {"if state ~= 'UNKNOWN' and NOW < use_by then": "if false then"},
        "what was never permitted is resolved": {
            "if state ~= 'PERMITTED' and state ~= 'UNKNOWN' then": "if false then"
        },
    },
    "stopped above": {
        "a cancel above does not reach what has finished": {
            "for i = RUNS_AT, #KEYS do\n    local state": "for i = #KEYS, #KEYS do\n    local state"
        },
    },
    "found": {
        "a cancel is not noted": {"if has_jobs then look_below": "if false then look_below"},
        "a cancel finds jobs of its own run alone": {
            "below and '(' .. path .. '-' or '(' .. path .. ',0'": "'(' .. path .. ',0'"
        },
        "a cancel finds jobs of runs beside it": {"'(' .. path .. '-' or": "'(' .. path .. '~' or"},
        "a budget that ends a run is not noted": {"if owner.has_jobs then": "if false then"},
        "a deadline is not noted": {"AT_ONCE or deadline)": "AT_ONCE or '9e15')"},
        "what is told after the stop is not noted": {"after_cut == '1' and AT_ONCE or deadline": "'9e15'"},
        "a new epoch is not noticed": {"redis.call('HGET', META, 'looked_in') ~= EPOCH": "false"},
        "jobs of runs at work are due": {"elseif stopped and (own or below) then": "else"},
        "jobs of runs below are due by a deadline above": {"and (own or below) then": "then"},
        "what finished after all stays due": {"if duty.due ~= NEVER then -- its": "if false then --"},
        "a job is found that nobody stopped": {"if duty.due == NEVER then": "if false then"},
    },
    "tried often": {
        "a later due time is not on the list": {"if KIND ~= 'UNDO' then redis": "if false then redis"},
        "a duty has no end": {
            "if NOW >= tonumber(duty['until']) then return over": "if false then return over"
        },
        "a duty is claimed before it is due": {
            "if duty.due ~= NEVER and NOW < tonumber(duty.due) then": "if false then"
        },
        "a permit leaves no time to ask": {"math.min(use_by + ASK_MS, tonumber(goes))": "0"},
        "one may ask for ever": {"math.min(use_by + ASK_MS, tonumber(goes))": "use_by + ASK_MS * 1000"},
        "a failure of an earlier claim is repeated": {
            "duty.failed_lease ~= LEASE and duty.failed_lease or ''": "duty.failed_lease"
        },
        "the wait doubles for ever": {
            "math.min(math.max(0, attempts - 1), MOST_DOUBLINGS)": "(attempts - 1)"
        },
        "the wait does not double": {"2 ^ math.min(math.max(0, attempts - 1), MOST_DOUBLINGS)": "1"},
    },
    "told late": {
        "what failed is still called off": {"OUTCOME == 'FAILED' and 'MOOT' or 'OPEN'": "'OPEN'"},
        "the same job is called off twice": {
            "if known and not too_many and redis.call('EXISTS',": "if false and redis.call('EXISTS',"
        },
        "a late answer changes what is known": {"or (KIND == 'ASK' and known) then": "then"},
    },
    "jobs": {
        "a second job takes the place of the first": {
            "put_duty(which('CALL_OFF', job.number)": "put_duty(which('CALL_OFF', 0)"
        },
        "all jobs of an action are listed as one": {"(string.match(which, '/%d+$') or '')": "''"},
        "a job is not known by its name": {"['until'] = action.undo_until, handle = HANDLE,": ""},
        "what became of a job is told of none": {"'handle', duty.handle": "'handle', ''"},
        "of what did not happen only the first job ends": {
            "math.min(#handles_of(action), MAX_JOBS)": "math.min(#handles_of(action), 1)"
        },
        "nobody may call off what nobody is named for": {"elseif canceller == '' then": "elseif false then"},
        "who can call it off is told once": {"job.is_news = not known or": "job.is_news = not known and"},
        "why nobody can call it off is not on record": {"'why_not', job.why_not)\n": "'why_not', '')\n"},
        "a tool that agrees is not heard": {"action.resolved == ''": "true"},
        "a tool that agrees is heard again and again": {"number, 'resolved', ''": "number"},
        "a tool need not speak where somebody else has": {"number, 'resolved', '1',": "number,"},
    },
    "too many jobs": {
        "one job too many is taken": {"if again and heard and job.number >= MAX_JOBS then": "if false then"},
        "one job too many is called off": {
            "local too_many = job.number >= MAX_JOBS": "local too_many = false"
        },
    },
    "afresh": {
        "whoever has it is forgotten": {
            "worker = holder.worker, lease = holder.lease, lease_until = holder.lease_until,": ""
        },
        "who gave up keeps others waiting": {"'seq', number, 'lease_until', '0',": "'seq', number,"},
        "that it was given up is heard twice": {
            "failed_lease = holder.failed_lease, failed_seq = holder.failed_seq,": ""
        },
        "an undo outlives its epoch": {
            "if duty.epoch ~= EPOCH then return 'the": "if false then return 'the"
        },
    },
    "in turn": {
        "what may not have happened is undone": {
            "if action.state ~= 'SUCCEEDED' then return 'its": "if false then return 'its"
        },
        "effects are undone in any order": {"if last[1] ~= OP then": "if false then"},
        "nothing is moot": {"for _, which in ipairs(moot) do": "for _, which in ipairs({}) do"},
    },
    "not to be undone": {
        "what did not happen is undone": {"if IT_DID_NOT[action.state] then": "if false then"},
        "an undo comes too late": {
            "if NOW >= tonumber(action.undo_until) then return": "if false then return"
        },
        "what was taken back is undone": {
            "if duty and duty.state == 'WITHDRAWN' then return 'the": "if false then return 'the"
        },
        "what is undone is taken back": {"if duty and duty.state == 'DONE' then": "if false then"},
    },
    "deadline": {"a deadline is met too late": {"if NOW >= deadline then": "if NOW > deadline then"}},
    "below": {
        "a delegated grant outlives the one above": {
            "tonumber(TTL_MS), tonumber(above.expire_time), ": "tonumber(TTL_MS), "
        },
        "budgets may be larger below": {"and tonumber(limit) > budget.limit then": "and false then"},
        "the grants above are not asked": {
            "if grant.end_seq ~= '0' then": "if i == #LINKS and grant.end_seq ~= '0' then"
        },
        "uses are counted in the last grant of a chain only": {"for level = #GRANTS, 1, -1 do": LAST},
    },
    "frozen": {
        "no freeze is asked when a grant is given out": {"if not blocks(fence) or": "if true or"},
        "a freeze lasts for ever": {"or NOW < tonumber(fence.block_until)": "or true"},
        "the youngest fence is named": {
            "tonumber(fence.seq) < tonumber(oldest.seq)": "tonumber(fence.seq) > tonumber(oldest.seq)"
        },
    },
    "full": {
        "a full run takes more": {"if tonumber(run[1]) >= MAX_ACTIONS then": "if false then"},
        "what a refused spending is for is not on record": {"ASKED[name] or details": "details"},
        "a run takes any number of spendings": {
            "if tonumber(run[1]) >= tonumber(MAX_SPENDINGS) then": "if false then"
        },
    },
    "tidied": {
        "fences are never tidied": {"if is_over(one) or (same and not blocks(one)) then": "if false then"},
    },
    "said": {
        "what was denied still waits": {
            "redis.call('ZREM', AWAITING, RUN_ID .. '/' .. OP)\nreturn answer('D": "return answer('D"
        },
        "an approval is for any arguments": {"if action.digest ~= DIGEST or": "if"},
    },
    "narrow": {
        "the ceiling is not asked": {"if RANK[intent.reversibility] > RANK[scope[4]] then": "if false then"},
    },
}

DEFECTS = [("", name, defect) for name, defect in LUA_DEFECTS.items()]
DEFECTS += [(about, name, one) for about, some in FOCUSED.items() for name, one in some.items()]


@pytest.mark.parametrize(
    ("about", "defect"),
    [(about, defect) for about, _, defect in DEFECTS],
    ids=[name for _, name, _ in DEFECTS],
)
def test_a_defect_in_a_script_is_caught(
    about: str, defect: Lua, told: Told, loop: asyncio.AbstractEventLoop, rigs: tuple[MemoryRig, list[Rig]]
) -> None:
    """A Redis store with one rule missing or wrong does not pass for the model."""
    (redis,) = (rig for rig in rigs[1] if isinstance(rig, RedisRig))
    right = dict(redis.scripts)
    try:
        loop.run_until_complete(redis.use_scripts(_planted(right, defect)))
        _assert_caught(loop, [*told("always"), *told(about)], redis)
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
    "duties are not written": ("put", _put_but(lambda one: isinstance(one, Duty))),
    "the end of a duty is not written": (
        "put",
        _put_but(lambda one: isinstance(one, Duty) and one.state != "OPEN"),
    ),
    "a lease is not written": ("put", _put_but(lambda one: isinstance(one, Duty) and one.lease_until)),
    "a wait is not written": (
        "put",
        _put_as(lambda one: replace(one, due=0) if isinstance(one, Duty) else one),
    ),
    "handles are not written": (
        "put",
        _put_as(lambda one: replace(one, handles=()) if isinstance(one, Action) else one),
    ),
    "that the tool has yet to speak is not written": (
        "put",
        _put_as(lambda one: replace(one, resolved=False) if isinstance(one, Action) else one),
    ),
    "all jobs are the first": (
        "put",
        _put_as(lambda one: replace(one, job=0) if isinstance(one, Duty) else one),
    ),
    "any undo is the last": ("last_undo", lambda last: lambda state, run_id: "e1"),
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
    told: Told,
    loop: asyncio.AbstractEventLoop,
    rigs: tuple[MemoryRig, list[Rig]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An embedded store that forgets to write or to look for something does not pass for the model."""
    (sqlite,) = (rig for rig in rigs[1] if isinstance(rig, SqliteRig))
    monkeypatch.setattr(SqliteState, method, defect(getattr(SqliteState, method)))
    many = ("always", "said", "tidied", "frozen", "duty", "jobs", "ask", "")
    _assert_caught(loop, [one for about in many for one in told(about)], sqlite)


#: Where a rule of duties is, and what it says when it is wrong.
RULE_DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "everything is due": (duties, "_why_not_due", lambda state, action, duty: ""),
    "every run was stopped": (duties, "was_cut_off", lambda state, run_id: True),
    "every run has ended": (duties, "_has_ended", lambda state, run_id: True),
    "everything can be undone": (duties, "_why_not_undoable", lambda state, action, duty: ""),
    "every duty is open": (duties, "_not_open", lambda command, duty: None),
    "the wait does not double": (duties, "retry_after", lambda attempts, retry_ms: retry_ms),
    "nothing is moot once it is resolved": (duties, "close_moot", lambda state, action: None),
    "nothing is moot once it is settled": (actions, "close_moot", lambda state, action: None),
    "nothing can be called off": (actions, "put_call_off", lambda state, action, job, canceller: None),
    "no job is named": (actions, "named", lambda state, action, command: None),
    "any number of jobs is called off": (jobs, "MAX_JOBS", 99),
    "every word is taken": (actions, "_not_taken", lambda action, again, job: None),
    "nothing can be asked": (actions, "put_ask", lambda state, action, keep_until: None),
    "what is known can be told otherwise": (duties, "_KNOWN", frozenset()),
    "what was killed long ago is extended": (grants, "killed", lambda state, by: None),
    "what never happened is undone": (duties, "_NOTHING_HAPPENED", frozenset()),
}


@pytest.mark.parametrize(("where", "name", "wrong"), RULE_DEFECTS.values(), ids=RULE_DEFECTS.keys())
def test_a_defect_in_a_rule_is_caught(
    where: object,
    name: str,
    wrong: object,
    told: Told,
    loop: asyncio.AbstractEventLoop,
    rigs: tuple[MemoryRig, list[Rig]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stories are told by the right rules; a store that then decides by a wrong one does not pass."""
    (sqlite,) = (rig for rig in rigs[1] if isinstance(rig, SqliteRig))
    pointed = ("told late", "too many jobs", "not to be undone", "tried often")
    stories = [story for about in (*pointed, "duty", "jobs", "outlast") for story in told(about)]
    monkeypatch.setattr(where, name, wrong)
    _assert_caught(loop, stories, sqlite)


def _assert_caught(loop: asyncio.AbstractEventLoop, stories: list[Story], rig: Rig) -> None:
    for number, story in enumerate(stories):
        try:
            loop.run_until_complete(compare(story, [rig]))
        except (AssertionError, StoreFailed) as difference:
            print(f"caught by sequence {number}: {difference}")
            return
    pytest.fail(f"{len(stories)} sequences did not notice")
