"""Random sequences of calls, from pools so small that they collide: replays, conflicts, late and early calls.

A sequence is data: it says "the grant g1 as it was issued", and becomes real calls when the model plays it.
Pools hold values just inside and just outside of what is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import strategies as st

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.budget import MAX_AMOUNT, Budget, Exhaustion, costs_of
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.duty import MAX_JOBS, DutyKind
from grant_service.core.fence import FENCES, selector_of
from grant_service.core.grant import MAX_CHAIN
from grant_service.core.run import MAX_DEPTH, RECENT_MS, StopReason
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import DAY, HOUR, SECOND, digest


@dataclass(frozen=True)
class Tell:
    """A verb that names no grant, or a reading, said as it is."""

    verb: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Use:
    """A tool's verb under a grant, pointed to as issued or, with a twist, wrongly."""

    verb: str
    grant: str
    twist: str
    peer: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Again:
    """A call made before is made again, as a retry that was under way for long would be."""

    back: int


@dataclass(frozen=True)
class Burst:
    """Calls made in one turn of the event loop."""

    calls: tuple[Use | Tell, ...]


@dataclass(frozen=True)
class Move:
    """The clock moves on, or back."""

    ms: int


@dataclass(frozen=True)
class NewEpoch:
    """The store may have lost facts."""


@dataclass(frozen=True)
class LetGo:
    """A run is let go of as its journal has it, or as it had it before its last entry."""

    run: str
    late: bool = False


Step = Tell | Use | Again | Burst | Move | NewEpoch | LetGo

RUNS = ("a", "b", "c", "d")
DEEP = tuple(f"deep-{level}" for level in range(1, MAX_DEPTH + 2))

#: A chain as long as it may be; the last of it is the grant that random delegations come from and go to.
CHAIN = ("g1", *[f"link-{number}" for number in range(2, MAX_CHAIN)], "d1")

run_id = st.sampled_from(RUNS)
grant_id = st.sampled_from([*["g1"] * 20, *["g2"] * 4, "g3", *["d1"] * 2, "d2"])
delegated_id = st.sampled_from(["d1", "d1", "d2", "g2"])
op_id = st.sampled_from([*["o1"] * 6, *["o2"] * 2, "o3"])
words = st.sampled_from(["", "", "u-7", "\u00e4\U0001f600", '"\n\\ {}[]%s', "\x00\x1f", "a,b", " "])
#: What marks are made of is one line.
names = st.sampled_from(["", "", "u-7", "\u00e4\U0001f600", "=", "a,b"])
labels = st.sampled_from([{}, {}, {"a": "1"}, {"b": "", "a": "\u00e9="}])
peer = st.sampled_from(["tool"] * 19 + ["thief"])
delegating_peer = st.sampled_from(["tool"] * 9 + ["", "thief"])
twist = st.sampled_from(
    ["as issued"] * 80 + ["other run", "no path", "longer path", "no chain", "longer chain"]
)
short_ms = st.sampled_from([1, SECOND, 5 * SECOND, 60 * SECOND, 60 * SECOND])
max_actions = st.sampled_from([1000] * 8 + [3, 1])
most = st.sampled_from([1000] * 8 + [1])
reversibility = st.sampled_from([Reversibility.IRREVERSIBLE, *Reversibility])
arguments = st.sampled_from([digest()] * 9 + [digest("x")])

#: Patterns, and resources that they cover or just do not.
NEAR = {
    "*": ["", "a/b"],
    "a/*": ["a/b", "a/b", "a/b/c", "a/", "a", "x/a/b"],
    "a/*/c": ["a/b/c", "a/b:c", "a//c", "a/b/cd", "a/b/c/d"],
    "*:*": ["x:y", "a:b/c", ":y", "a/b:c"],
    "mailto:*@example.com": [
        "mailto:x@example.com",
        "mailto:@example.com",
        "mailto:x@example.com,y@evil.org",
    ],
    "a/b": ["a/b", "a/b", "a/bc", "a/B", "a"],
    "%20(/*": ["%20(/)", "%20/x"],
    "*,*;x": ["a,b;x", "a,b;y", ",b;x"],
    "-/[^x]": ["-/[^x]", "-/y"],
}
PATTERNS = sorted(NEAR)
RESOURCES = sorted({near for some in NEAR.values() for near in some})
action = st.sampled_from(["email.send", "email.send", "email.send", "email", "email.draft.new", "sms.send"])
scope_action = st.sampled_from(["*", "*", "email.*", "email.send", "sms.*"])

scope = st.builds(
    Scope,
    action=scope_action,
    resource=st.sampled_from(PATTERNS),
    max_uses=st.sampled_from([0, 0, 0, 1, 2]),
    ceiling=reversibility,
    approval_from=st.sampled_from([None] * 9 + [*Reversibility]),
)
scopes = st.sampled_from([(Scope("*"),)] * 3) | st.lists(scope, min_size=1, max_size=3).map(tuple)

CANCEL, REFUSE = Exhaustion.CANCEL, Exhaustion.REFUSE
SMALL = (
    (Budget("tool_calls", 2, REFUSE),),
    (Budget("tool_calls", 3),),
    (Budget("usd", 5, REFUSE),),
    (Budget("usd", 5),),
    (Budget("usd", 0), Budget("eur", 1, REFUSE)),
    (Budget("usd", 9), Budget("tool_calls", 4, REFUSE), Budget("eur", MAX_AMOUNT)),
)
budgets = st.sampled_from([(), (), (), (), (), (), (), *SMALL])
budget = st.sampled_from(["usd", "usd", "usd", "eur", "tool_calls"])
amount = st.sampled_from([1, 1, 2, 3, 5, 6, MAX_AMOUNT])
costs = st.sampled_from(
    [{}, {"usd": 1}, {"usd": 3}, {"usd": 6}, {"tool_calls": 0}, {"tool_calls": 2, "eur": 1}]
)

#: What an op_id usually means, so that most repetitions are the same action, and what it sometimes means.
COSTS = {"o1": (), "o2": (("usd", 2),), "o3": (("eur", 1), ("tool_calls", 2))}
PROBES = {"o1": "", "o2": "email.ask", "o3": ""}
usual = op_id.map(
    lambda op: Intent(
        *(op, "email.send", "a/b", digest(), Reversibility.COMPENSABLE, "email.recall"),
        costs=COSTS[op],
        compensation_args='{"id":1}',
        probe=PROBES[op],
    )
)
unusual = st.builds(
    Intent,
    op_id=op_id,
    action=action,
    resource=st.sampled_from(RESOURCES),
    digest=arguments,
    reversibility=reversibility,
    compensation=st.sampled_from(["", "email.recall"]),
    costs=costs.map(costs_of),
    summary=words,
    compensation_args=st.sampled_from(["", '{"id":1}']),
    probe=st.sampled_from(["", "email.ask"]),
)
intent = st.one_of(*[usual] * 5, unusual)

opening = st.builds(
    verbs.Open,
    run_id=run_id,
    ttl_ms=st.sampled_from([5 * SECOND, HOUR, HOUR, DAY]),
    keep_ms=st.just(DAY),
    parent=st.sampled_from(["", "", *RUNS]),
    subject=names,
    agent=names,
    tenant=names,
    labels=labels,
    budgets=budgets,
)
issuing = st.builds(
    verbs.Issue,
    grant_id=grant_id,
    run_id=run_id,
    audience=st.sampled_from(["tool"] * 9 + ["other"]),
    scopes=scopes,
    ttl_ms=st.sampled_from([SECOND, 60 * SECOND, HOUR, HOUR]),
    budgets=budgets,
    sealed=st.sampled_from([False] * 9 + [True]),
)
cancelling = st.builds(verbs.Cancel, run_id, st.sampled_from(StopReason), actor=words, note=words, tag=words)
finishing = st.builds(verbs.Finish, run_id, actor=words, note=words)

mark = st.sampled_from(
    [
        *["run=a", "run=a", "run=a", "run=b", "run=c", "subject=u-7", "subject=="],
        *["grant=g1", "grant=g1", "grant=g1", "grant=d1"],
        *["agent=a,b", "agent=u-7", "tenant=u-7", "tenant=\u00e4\U0001f600"],
        *["label=a=1", "label=a=\u00e9=", "label=b="],
    ]
)
fence_action = st.sampled_from(
    [*[""] * 4, "email.send", "email.send", "email.*", "email.draft.*", "sms.*", "*"]
)
selector = st.builds(selector_of, st.lists(mark, min_size=1, max_size=2) | st.just([]), fence_action)
#: What the first run is marked by, and marks of what the first grant is good for: fences over these hit.
MARKED: dict[str, dict[str, Any]] = {
    "a": {"subject": "u-7", "agent": "a,b", "tenant": "u-7", "labels": {"a": "1"}}
}
near_mark = st.sampled_from(["run=a", "grant=g1", "subject=u-7", "agent=a,b", "tenant=u-7", "label=a=1"])
hitting = st.builds(
    selector_of,
    st.lists(near_mark, min_size=1, max_size=2),
    st.sampled_from(["", "", "", "email.send", "email.*"]),
)
fence_id = st.sampled_from(["f1", "f1", "f2", "f3"])
kill_ms = st.sampled_from([1, SECOND, HOUR, HOUR])
stop_reason = st.sampled_from(StopReason)
revoking = st.builds(verbs.Revoke, fence_id, selector, stop_reason, kill_ms, actor=words, note=words)
freezing = st.builds(
    verbs.Freeze,
    fence_id,
    selector,
    stop_reason,
    kill_ms,
    actor=words,
    note=words,
    ttl_ms=st.sampled_from([0, 0, 1, SECOND, HOUR]),
)
lifting = st.builds(verbs.Lift, fence_id, actor=words, note=words)
amending = st.sampled_from([("", "")] * 3 + [('{"a":1}', digest("x"))])
Asked = st.SearchStrategy[tuple[str, str]]
Kinds = st.SearchStrategy[DutyKind]
asked_of = st.tuples(st.sampled_from(["a", "a", "a", "a", "b", "d"]), op_id)
approving = st.builds(
    lambda asked, amended, *told: verbs.Approve(*asked, *told, *amended),
    asked_of,
    amending,
    arguments,
    short_ms,
    words,
    words,
)
denying = st.builds(lambda asked, *told: verbs.Deny(*asked, *told), asked_of, words, words)
outcome = st.sampled_from([ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN])
known = st.sampled_from([ActionState.SUCCEEDED, ActionState.FAILED])
#: Most that is settled is done at once; some is only accepted, and has a handle, mostly with who calls that
#: off, or with why nobody can.
JOBS = [("h-1", "job.stop", ""), ("h-1", "job.stop", ""), ("h-1", "", ""), ("h-2", "job.end", "")]
JOBS += [("h-3", "", "not registered")]
handle = st.sampled_from([("", "", "")] * 5 + JOBS)
#: So many that they cannot all be called off.
JOB = st.sampled_from([f"h-{number}" for number in range(1, MAX_JOBS + 3)])
job = st.tuples(JOB, st.sampled_from(["job.stop"] * 4 + [""]), st.just(""))
undo_ms = st.sampled_from([HOUR, HOUR, HOUR, 5 * SECOND, 2 * DAY, 0])

#: The duties of a few actions, claimed under a few names: most claims hold what they ask about.
duty_kind = st.sampled_from([DutyKind.UNDO, *DutyKind])
which_job = st.sampled_from([*[0] * 9, 1])
lease = st.sampled_from([*["l1"] * 5, "l2"])
C = TypeVar("C", verbs.Claim, verbs.Renew, verbs.Complete, verbs.Fail)
lease_ms = st.sampled_from([1, SECOND, SECOND, 5 * SECOND, HOUR])
max_attempts = st.sampled_from([1, 1, 2, 3])


def resolving(of: Asked) -> st.SearchStrategy[verbs.Resolve]:
    """Somebody says what became of an action."""
    return st.builds(lambda at, *told: verbs.Resolve(*at, *told), of, known, words, words)


def undoing(of: Asked) -> st.SearchStrategy[verbs.Undo]:
    """Somebody asks for an undo."""
    return st.builds(lambda at, *told: verbs.Undo(*at, *told), of, words, words)


def withdrawing(of: Asked) -> st.SearchStrategy[verbs.Withdraw]:
    """Somebody takes back the authority to undo."""
    return st.builds(lambda at, *told: verbs.Withdraw(*at, *told), of, words, words)


def claiming(of: Asked, kind: Kinds = duty_kind) -> st.SearchStrategy[verbs.Claim]:
    """A compensator takes on a duty."""
    worker = st.sampled_from(["w1", "w1", "w2"])
    told = (of, kind, worker, lease, lease_ms, max_attempts)
    return _of_a_job(st.builds(lambda at, *told: verbs.Claim(*at, *told), *told))


def renewing(of: Asked, kind: Kinds = duty_kind) -> st.SearchStrategy[verbs.Renew]:
    """It wants to keep it."""
    return _of_a_job(st.builds(lambda at, *told: verbs.Renew(*at, *told), of, kind, lease, lease_ms))


def completing(of: Asked, kind: Kinds = duty_kind) -> st.SearchStrategy[verbs.Complete]:
    """It has done it."""
    ends = {
        DutyKind.UNDO: ["DONE"],
        DutyKind.CALL_OFF: ["DONE", "REFUSED"],
        DutyKind.ASK: ["SUCCEEDED", "FAILED"],
    }
    endings = {one: st.tuples(st.just(one), lease, st.sampled_from(some)) for one, some in ends.items()}
    told = (of, kind.flatmap(endings.__getitem__), words, words)
    return _of_a_job(st.builds(lambda at, end, *told: verbs.Complete(*at, *end, *told), *told))


def failing(of: Asked, kind: Kinds = duty_kind) -> st.SearchStrategy[verbs.Fail]:
    """It could not."""
    final = st.sampled_from([False] * 2 + [True])
    told = (of, kind, lease, st.sampled_from([1, 500, SECOND]), max_attempts, words, final)
    return _of_a_job(st.builds(lambda at, *told: verbs.Fail(*at, *told), *told))


def _of_a_job(asked: st.SearchStrategy[C]) -> st.SearchStrategy[C]:
    """What is asked of a CALL_OFF is asked of the first job, or of another one."""

    def of(one: C, job: int) -> C:
        return replace(one, job=job) if one.kind is DutyKind.CALL_OFF else one

    return st.builds(of, asked, which_job)


#: A run to be opened below the grant's own; who it is for, the grant says.
child = st.builds(
    verbs.Open,
    run_id=run_id,
    ttl_ms=st.sampled_from([0, 0, SECOND, DAY]),
    keep_ms=st.just(DAY),
    agent=names,
    labels=labels,
    budgets=budgets,
)

#: The rest of each command of a tool, beside the grant and the peer.
TOOL_ARGS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "prepare": {
        "intent": intent,
        "ttl_ms": short_ms,
        "max_actions": max_actions,
        "wait_ms": short_ms,
        "undo_ms": undo_ms,
    },
    "commit": {"op_id": op_id, "digest": arguments, "use_ms": short_ms},
    "perform": {
        "intent": intent,
        "use_ms": short_ms,
        "max_actions": max_actions,
        "wait_ms": short_ms,
        "undo_ms": undo_ms,
    },
    "settle": {
        "op_id": op_id,
        "outcome": outcome,
        "receipt": words,
        "note": words,
        "result_args": st.sampled_from(["", "", '{"id":2}']),
        "handle,canceller,why_not": handle,
    },
    "abandon": {"op_id": op_id, "note": words},
    "delegate": {
        "grant_id": delegated_id,
        "scopes": scopes,
        "ttl_ms": st.sampled_from([SECOND, 60 * SECOND, HOUR]),
        "max_delegations": most,
        "audience": st.sampled_from(["", "", "tool", "other"]),
        "budgets": budgets,
        "sealed": st.sampled_from([False] * 9 + [True]),
        "child": st.none() | st.none() | child,
    },
    "extend": {"ttl_ms": st.sampled_from([1, SECOND, 60 * SECOND, HOUR, HOUR + 1])},
    "spend": {
        "op_id": op_id,
        "budget": budget,
        "amount": amount,
        "max_spendings": most,
        "incurred": st.sampled_from([False, False, False, True]),
    },
}


def use(verb: str) -> st.SearchStrategy[Use]:
    """A tool's verb."""
    who = delegating_peer if verb in ("delegate", "extend") else peer
    args = st.fixed_dictionaries(TOOL_ARGS[verb]).map(_apart)
    return st.builds(Use, st.just(verb), grant_id, twist, who, args)


def _apart(args: dict[str, Any]) -> dict[str, Any]:
    """Take apart what is drawn together, as a handle and who can call it off."""
    pairs = [(name.split(","), value if "," in name else [value]) for name, value in args.items()]
    return {name: value for names, values in pairs for name, value in zip(names, values, strict=True)}


def tell(verb: str, command: st.SearchStrategy[Any]) -> st.SearchStrategy[Tell]:
    """Another verb."""
    return command.map(lambda told: Tell(verb, (told,)))


reading = st.one_of(
    st.lists(run_id, max_size=3).map(lambda ids: Tell("runs", (ids,))),
    st.builds(lambda before, limit: Tell("run_ids", (before, limit)), st.integers(0, 9), st.integers(1, 4)),
    st.builds(
        lambda run, after, limit: Tell("journal", (run, after, limit)),
        run_id,
        st.integers(0, 20),
        st.integers(1, 6),
    ),
    st.just(Tell("standing", ())),
    st.builds(lambda before, to: Tell("recent_run_ids", (before, to)), st.integers(0, 9), st.integers(1, 4)),
    st.lists(grant_id, max_size=3).map(lambda ids: Tell("grants", (ids,))),
    st.lists(st.tuples(run_id, op_id), max_size=3).map(lambda ids: Tell("actions", (ids,))),
    st.sampled_from(["awaiting", "fences"]).map(lambda verb: Tell(verb, ())),
    st.just(Tell("journal", (FENCES, 0, 9))),
    st.builds(lambda kind, limit: Tell("open_duties", (kind, limit)), duty_kind, st.sampled_from([1, 2, 99])),
)
#: Times around the ends of the seconds in which amounts are held, too.
moves = [1, 1, 999, 999, SECOND, 4 * SECOND, 5 * SECOND, 59 * SECOND, HOUR - 1, HOUR]
moves += [-1, -SECOND, -5 * SECOND, -CLOCK_TOLERANCE_MS, CLOCK_TOLERANCE_MS]
moves += [-CLOCK_TOLERANCE_MS - 1] * 3
in_bursts = ["commit", "commit", "commit", "perform", "perform", "settle", "prepare", "prepare"]
in_bursts += ["spend", "delegate", "extend"]
tells = [tell("cancel", cancelling), tell("deny", denying), tell("revoke", revoking)]
bursting = st.one_of(*map(use, in_bursts), *tells)

KINDS: dict[str, tuple[int, st.SearchStrategy[Step]]] = {
    "open": (8, tell("open", opening)),
    "issue": (8, tell("issue", issuing)),
    "prepare": (14, use("prepare")),
    "commit": (14, use("commit")),
    "perform": (9, use("perform")),
    "settle": (10, use("settle")),
    "abandon": (6, use("abandon")),
    "cancel": (1, tell("cancel", cancelling)),
    "finish": (2, tell("finish", finishing)),
    "delegate": (6, use("delegate")),
    "extend": (5, use("extend")),
    "spend": (5, use("spend")),
    "revoke": (1, tell("revoke", revoking)),
    "freeze": (2, tell("freeze", freezing)),
    "lift": (3, tell("lift", lifting)),
    "approve": (4, tell("approve", approving)),
    "deny": (3, tell("deny", denying)),
    "resolve": (2, tell("resolve", resolving(asked_of))),
    "undo": (3, tell("undo", undoing(asked_of))),
    "withdraw": (1, tell("withdraw", withdrawing(asked_of))),
    "claim": (3, tell("claim", claiming(asked_of))),
    "renew": (1, tell("renew", renewing(asked_of))),
    "complete": (2, tell("complete", completing(asked_of))),
    "fail": (1, tell("fail", failing(asked_of))),
    "read": (8, reading),
    "again": (14, st.sampled_from([1, 1, 1, 2, 3, 5, 8, 12]).map(Again)),
    "burst": (6, st.lists(bursting, min_size=2, max_size=5).map(lambda calls: Burst(tuple(calls)))),
    "move": (10, st.sampled_from(moves).map(Move)),
    "epoch": (1, st.just(NewEpoch())),
    "let_go": (1, st.builds(LetGo, run_id, st.booleans())),
}


#: Parts of the stories, each made once: to make a strategy costs more than to draw from it.
priced = costs.map(costs_of)
below = st.none() | st.builds(verbs.Open, run_id, st.just(0), st.just(DAY), budgets=budgets)
hit_or_not, fencing = hitting | selector, revoking | freezing
spent = st.fixed_dictionaries(TOOL_ARGS["spend"] | {"max_spendings": st.just(9)})
told_at_once = [[ActionState.SUCCEEDED]] * 8 + [[ActionState.FAILED]]
settled = st.sampled_from([*told_at_once, [ActionState.UNKNOWN], []])
accepted = handle.filter(lambda one: bool(one[0]))


@cache
def order_of(count: int) -> st.SearchStrategy[list[int]]:
    """Any order of so many."""
    return st.permutations(range(count))


@cache
def place_in(count: int) -> st.SearchStrategy[int]:
    """The place of one of so many."""
    return st.sampled_from(range(count))


def _pick(draw: st.DrawFn, some: Sequence[Any]) -> Any:
    """One of some that are only known now."""
    return some[draw(place_in(len(some)))]


@st.composite
def life(draw: st.DrawFn) -> list[Step]:
    """One action under the first grant, asked for as a good tool does; some break off, some are late."""
    wanted, use_ms, end = draw(intent), draw(short_ms), draw(outcome)
    prepare = _prepare(wanted)
    commit = _use("commit", op_id=wanted.op_id, digest=wanted.digest, use_ms=use_ms)
    perform = _use("perform", intent=wanted, use_ms=use_ms, max_actions=1000, wait_ms=SECOND, undo_ms=HOUR)
    settle = _use("settle", op_id=wanted.op_id, outcome=end, receipt="1", note="")
    abandon = _use("abandon", op_id=wanted.op_id, note="")
    wait = Move(_pick(draw, [SECOND - 1, SECOND, SECOND]))
    lives: list[list[Step]] = [[prepare, commit, settle], [prepare, commit], [perform, settle], [perform]]
    return _pick(draw, [*lives, [prepare, abandon], [prepare, wait, commit]])


@st.composite
def narrow(draw: st.DrawFn) -> list[Step]:
    """A grant of its own, narrow and perhaps short, and two actions at once that fit it, or almost do."""
    name, pattern = draw(st.integers(1, 6)), _pick(draw, PATTERNS)
    grant, op = f"s{name}", f"p{name}"
    one_use, near = Scope("*", max_uses=1), Scope(draw(scope_action), pattern, 0, draw(reversibility))
    granted = _pick(draw, [one_use, near, near, replace(near, max_uses=1)])
    asked = [
        Intent(f"{op}-{n}", draw(action), _pick(draw, NEAR[pattern]), digest(), draw(reversibility))
        for n in (1, 2)
    ]
    prepares = [_prepare(one, grant, HOUR) for one in asked]
    return [
        Tell("issue", (verbs.Issue(grant, "a", "tool", (granted,), _pick(draw, [SECOND, HOUR])),)),
        prepares[0],
        *_pick(draw, [[], [], [Move(SECOND - 1)], [Move(SECOND)]]),
        prepares[1],
        *[_use("commit", grant, op_id=one.op_id, digest=digest(), use_ms=SECOND) for one in asked],
    ]


@st.composite
def stop(draw: st.DrawFn) -> list[Step]:
    """A run, or one above it, ends between the prepare and the commit; afterwards the tool goes on trying."""
    begun = draw(life())
    run = _pick(draw, ["a", "a", "a", "b", "d"])
    ends: list[Step] = [
        Tell("finish", (verbs.Finish(run),)),
        Tell("cancel", (verbs.Cancel(run, StopReason.INCIDENT),)),
    ]
    after = [_use("abandon", op_id="o1", note=""), _use("commit", op_id="o1", digest=digest(), use_ms=1)]
    wait = _pick(draw, [[], [Move(SECOND)]])
    return [
        *begun[:1],
        *wait,
        _pick(draw, ends),
        *wait,
        *after,
        *begun[1:],
        *[ends[number] for number in draw(order_of(len(ends)))],
    ]


@st.composite
def ask(draw: st.DrawFn) -> list[Step]:
    """A person is asked, who agrees, refuses, thinks again or is late; the tool goes on."""
    grant, op = f"w{draw(st.integers(1, 4))}", f"q{draw(st.integers(1, 4))}"
    demanded = Scope("*", max_uses=_pick(draw, [0, 0, 1]), approval_from=draw(reversibility))
    wanted = Intent(op, "email.send", "a/b", digest(), Reversibility.IRREVERSIBLE, costs=draw(priced))
    amended = draw(amending)
    prepare, commit = _prepare(wanted, grant), _use("commit", grant, op_id=op, digest=digest(), use_ms=SECOND)
    perform = _use("perform", grant, intent=wanted, use_ms=SECOND, max_actions=1000, wait_ms=5 * SECOND)
    approve = Tell("approve", (verbs.Approve("a", op, digest(), SECOND, "u-7", "", *amended),))
    narrowed = _use("commit", grant, op_id=op, digest=amended[1] or digest(), use_ms=SECOND)
    deny, wait = Tell("deny", (verbs.Deny("a", op),)), Move(_pick(draw, [SECOND - 1, SECOND]))
    abandon = _use("abandon", grant, op_id=op, note="")
    ask = _pick(draw, [prepare, prepare, perform])
    answers: list[list[Step]] = [
        [approve, narrowed],
        [approve, ask, narrowed, deny],
        [commit, approve, approve, commit],
        [deny, deny, ask],
        [deny, commit],
        [approve, deny, narrowed],
        [approve, wait, narrowed, approve],
        [wait, wait, Move(4 * SECOND), approve, ask, deny],
        [ask, abandon, approve, ask],
    ]
    granted = verbs.Issue(grant, "a", "tool", (demanded,), HOUR)
    look: list[list[Step]] = [[], [], [Tell("awaiting", ())]]
    answer, before, after = (_pick(draw, some) for some in (answers, look, look))
    return [Tell("issue", (granted,)), ask, *before, *answer, *after]


@st.composite
def hand_on(draw: st.DrawFn) -> list[Step]:
    """Part of a grant is handed on, perhaps into a run of its own, and used, perhaps past its uses."""
    grant, wide = f"h{draw(st.integers(1, 4))}", _pick(draw, [*["g1"] * 5, "g2", "d1"])
    narrow = Scope(draw(scope_action), _pick(draw, ["*", "a/b", "a/*"]), _pick(draw, [0, 1, 2]))
    run = draw(below)
    most = _pick(draw, [*[1000] * 5, 0])
    more = {"max_delegations": most, "audience": "", "budgets": draw(budgets), "sealed": False, "child": run}
    delegate = _use("delegate", wide, grant_id=grant, scopes=(narrow,), ttl_ms=draw(short_ms), **more)
    wanted = [replace(draw(usual), op_id=f"{grant}-{n}") for n in (1, 2)]
    performs = [
        _use("perform", grant, intent=one, use_ms=SECOND, max_actions=1000, wait_ms=SECOND) for one in wanted
    ]
    cut: list[list[Step]] = [
        [],
        [],
        [],
        [Tell("revoke", (draw(revoking),))],
        [Tell("freeze", (draw(freezing),))],
    ]
    return [delegate, performs[0], *_pick(draw, cut), performs[1], draw(KINDS["spend"][1])]


@st.composite
def outlast(draw: st.DrawFn) -> list[Step]:
    """A grant, or what was delegated from it, has expired, and perhaps been fenced; it is extended."""
    name = draw(st.integers(1, 9))
    run, grant, below, fence = f"x{name}", f"xg{name}", f"xh{name}", f"xf{name}"
    wide = _pick(draw, [Scope("*"), Scope("email.*"), Scope("sms.send")])
    marks = _pick(
        draw, [[], [f"run={run}"], [f"run={run}"], [f"grant={grant}"], [f"grant={below}"], ["run=a"]]
    )
    action = _pick(draw, ["", "", "email.send", "email.*", "sms.send"])
    why = (selector_of(marks, action), StopReason.INCIDENT, SECOND)
    fences: list[list[Step]] = [
        [],
        [],
        [Tell("revoke", (verbs.Revoke(fence, *why),))],
        [Tell("freeze", (verbs.Freeze(fence, *why),))],
        [Tell("freeze", (verbs.Freeze(fence, *why),)), Tell("lift", (verbs.Lift(fence, "u-7"),))],
    ]
    other = verbs.Revoke(f"{fence}-2", selector_of(["run=elsewhere"]), StopReason.INCIDENT, SECOND)
    tidied: list[list[Step]] = [[], [Move(5 * SECOND), Tell("revoke", (other,))]]
    ends: list[list[Step]] = [[]] * 8 + [
        [Tell("cancel", (verbs.Cancel(run, StopReason.USER_STOP),))],
        [NewEpoch()],
    ]
    longer = [
        _use(
            "extend", draw(st.sampled_from([grant, below, below])), ttl_ms=_pick(draw, [1, SECOND, HOUR, DAY])
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    wanted = Intent(f"x{name}", "email.send", "a/b", digest(), Reversibility.READ_ONLY)
    last = _use("perform", _pick(draw, [grant, below]), intent=wanted, use_ms=HOUR, max_actions=9, wait_ms=1)
    more = {"max_delegations": 1000, "audience": "", "budgets": (), "sealed": False, "child": None}
    return [
        Tell("open", (verbs.Open(run, 2 * HOUR, DAY, budgets=draw(budgets)),)),
        Tell("issue", (verbs.Issue(grant, run, "tool", (wide,), _pick(draw, [SECOND, HOUR])),)),
        _use("delegate", grant, grant_id=below, scopes=(wide,), ttl_ms=SECOND, **more),
        *_pick(draw, fences),
        *_pick(draw, [[], [Move(SECOND)]]),
        *_pick(draw, tidied),
        *_pick(draw, ends),
        *longer,
        *_pick(draw, [[], [Move(SECOND)]]),
        last,
    ]


@st.composite
def run_out(draw: st.DrawFn) -> list[Step]:
    """A budget is held, given back, taken and used up, around the end of the second it is held for."""
    name, few = draw(st.integers(1, 6)), _pick(draw, SMALL)
    run, grant = f"m{name}", f"mg{name}"
    on_run, on_grant = _pick(draw, [(few, ()), ((), few), (few, few)])
    prices = [draw(priced) for _ in range(3)]
    wanted = [
        Intent(f"m{n}", "email.send", "a/b", digest(), Reversibility.READ_ONLY, costs=price)
        for n, price in enumerate(prices)
    ]
    spend = _use("spend", grant, **draw(spent))
    steps: list[Step] = [
        _prepare(wanted[0], grant, _pick(draw, [1, SECOND, 1500])),
        _prepare(wanted[1], grant),
        _use("perform", grant, intent=wanted[2], use_ms=SECOND, max_actions=1000, wait_ms=SECOND),
        _use("commit", grant, op_id="m0", digest=digest(), use_ms=SECOND),
        _use("abandon", grant, op_id="m1", note=""),
        _use("settle", grant, op_id="m2", outcome=draw(outcome), receipt="", note=""),
        spend,
        Move(_pick(draw, [1, 499, 500, SECOND - 1, SECOND])),
        _prepare(wanted[0], grant),
    ]
    order = draw(order_of(len(steps)))
    return [
        Tell("open", (verbs.Open(run, HOUR, DAY, _pick(draw, ["", "a"]), budgets=on_run),)),
        Tell("issue", (verbs.Issue(grant, run, "tool", (Scope("*"),), HOUR, on_grant),)),
        *[steps[number] for number in order],
    ]


@st.composite
def thaw(draw: st.DrawFn) -> list[Step]:
    """Something is frozen, and lifted again, perhaps twice; in between and afterwards people go on trying."""
    frozen, lifted = replace(draw(freezing), selector=draw(hit_or_not)), draw(words)
    name = _pick(draw, ["f1", f"f{draw(st.integers(4, 6))}"])
    lift = Tell("lift", (verbs.Lift(name, lifted),))
    tries: list[list[Step]] = [[], draw(life()), [draw(KINDS["issue"][1])], [draw(KINDS["delegate"][1])]]
    return [
        Tell("freeze", (replace(frozen, fence_id=name),)),
        *_pick(draw, tries),
        lift,
        *_pick(draw, tries),
        *_pick(draw, [[], [lift]]),
    ]


@st.composite
def cut(draw: st.DrawFn) -> list[Step]:
    """The first grant is fenced while it is used; perhaps another is issued and used then."""
    begun, name = draw(life()), f"f{draw(st.integers(7, 9))}"
    told: Any = draw(fencing)
    fence = replace(told, fence_id=name, selector=draw(hitting))
    new = [Tell("issue", (verbs.Issue("g4", "a", "tool", (Scope("*"),), HOUR),)), *_handed_on("g4", "h5")]
    after = [_use("perform", one, intent=draw(usual), use_ms=1, max_actions=1000) for one in ("g4", "h5")]
    later: list[list[Step]] = [[], begun, [*new, *after], [*_handed_on("g1", "h6"), *begun]]
    verb = "revoke" if isinstance(told, verbs.Revoke) else "freeze"
    return [*begun[:1], Tell(verb, (fence,)), *begun[1:], *_pick(draw, later)]


@st.composite
def duty(draw: st.DrawFn) -> list[Step]:
    """Effects of one run are to be undone, called off or asked about, by compensators who work or do not."""
    name, kind = draw(st.integers(1, 30)), draw(duty_kind)
    run, grant = f"u{name}", f"ug{name}"
    ops = _pick(draw, [("e1",), ("e1", "e2"), ("e1", "e2")])
    probe = "email.ask" if kind is DutyKind.ASK else ""
    lasts = _pick(draw, [HOUR, HOUR, HOUR, 5 * SECOND])
    steps: list[Step] = [
        Tell(
            "open",
            (verbs.Open(run, _pick(draw, [60 * SECOND, DAY]), DAY, _pick(draw, ["", "", "a"])),),
        ),
        Tell("issue", (verbs.Issue(grant, run, "tool", (Scope("*"),), HOUR),)),
    ]
    for op in ops:
        wanted = Intent(op, "email.send", "", digest(), Reversibility.REVERSIBLE, "email.recall", probe=probe)
        more = {"max_actions": 1000, "wait_ms": SECOND, "undo_ms": lasts}
        steps.append(_use("perform", grant, intent=wanted, use_ms=SECOND, **more))
        told = [] if kind is DutyKind.ASK else draw(settled)
        steps.extend(draw(_settled(grant, op, end, kind)) for end in told)
    cancel = Tell("cancel", (verbs.Cancel(run, StopReason.USER_STOP),))
    above = Tell("cancel", (verbs.Cancel("a", StopReason.INCIDENT),))
    stops = [*[cancel] * 5, above, Tell("finish", (verbs.Finish(run),)), Move(60 * SECOND)]
    steps.append(_pick(draw, stops))
    if kind is DutyKind.UNDO and _pick(draw, [False, False, True]):
        undo = Tell("undo", (verbs.Undo(run, ops[-1]),))
        back = Tell("withdraw", (verbs.Withdraw(run, ops[-1]),))
        failed = Tell("resolve", (verbs.Resolve(run, ops[-1], ActionState.FAILED),))
        steps += [
            undo,
            *_pick(draw, [[Move(SECOND), failed], [Move(SECOND), failed], [back, back]]),
        ]
    if kind is DutyKind.UNDO:
        steps += [Tell("undo", (verbs.Undo(run, op),)) for op in _pick(draw, [ops, ops[:1], ops[1:]])]
    else:
        steps.append(Move(SECOND))
    epochs = 0 if draw(st.integers(0, 9)) else 2
    walk = draw(later_on(run, grant, ops, kind, epochs))
    return [*steps, *(step for some in walk for step in some)]


@cache
def later_on(
    run: str, grant: str, ops: tuple[str, ...], kind: DutyKind, epochs: int
) -> st.SearchStrategy[list[list[Step]]]:
    """What becomes of the duties of a run."""
    of, kinds = st.tuples(st.just(run), st.sampled_from(["e1", "e1", "e2"])), st.just(kind)
    later: dict[str, tuple[int, st.SearchStrategy[list[Step]]]] = {
        "attempt": (12, attempt(run, st.sampled_from([ops[-1], ops[-1], ops[0]]), kind)),
        "claim": (2, _alone(tell("claim", claiming(of, kinds)))),
        "renew": (1, _alone(tell("renew", renewing(of, kinds)))),
        "complete": (2, _alone(tell("complete", completing(of, kinds)))),
        "fail": (2, _alone(tell("fail", failing(of, kinds)))),
        "undo": (2, _alone(tell("undo", undoing(of)))),
        "withdraw": (1, _alone(tell("withdraw", withdrawing(of)))),
        "resolve": (1, _alone(tell("resolve", resolving(of)))),
        "learn": (3, learn(run, st.sampled_from(ops), kind)),
        "settle": (2, _alone(st.builds(_settle, st.just(grant), st.sampled_from(ops), outcome, handle))),
        "move": (5, _alone(st.sampled_from([1, 499, 500, SECOND, SECOND, 5 * SECOND, HOUR]).map(Move))),
        "again": (1, _alone(st.sampled_from([1, 1, 2, 3]).map(Again))),
        "look": (1, _alone(st.just(Tell("open_duties", (kind, 99))))),
        "epoch": (epochs, _alone(st.just(NewEpoch()))),
    }
    which = st.sampled_from([name for name, (weight, _) in later.items() for _ in range(weight)])
    return st.lists(which.flatmap(lambda name: later[name][1]), min_size=2, max_size=6)


def _alone(step: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return step.map(lambda one: [one])


@cache
def work_on(run: str, op: str, kind: DutyKind) -> dict[str, st.SearchStrategy[Any]]:
    """What is said of one duty."""
    of, kinds = st.just((run, op)), st.just(kind)
    return {
        "resolve": resolving(of),
        "claim": claiming(of, kinds),
        "renew": renewing(of, kinds),
        "complete": completing(of, kinds),
        "fail": failing(of, kinds),
    }


@st.composite
def learn(draw: st.DrawFn, run: str, op: st.SearchStrategy[str], kind: DutyKind) -> list[Step]:
    """When no permit can be used any more somebody says what became of an action; its duty is claimed."""
    work = work_on(run, draw(op), kind)
    resolve, claim = (Tell(verb, (draw(work[verb]),)) for verb in ("resolve", "claim"))
    return [Move(SECOND), resolve, claim]


@st.composite
def lost(draw: st.DrawFn) -> list[Step]:
    """An epoch ends while an action waits for its commit: perhaps it had one, and somebody knows."""
    name = draw(st.integers(1, 30))
    run, grant = f"l{name}", f"lg{name}"
    scope = draw(st.sampled_from([Scope("*"), Scope("*"), Scope("*", approval_from=Reversibility.READ_ONLY)]))
    wanted = Intent("e1", "email.send", "", digest(), Reversibility.REVERSIBLE, "email.recall")
    ends = [Tell("cancel", (verbs.Cancel(one, StopReason.USER_STOP),)) for one in (run, "a")]
    end = draw(st.sampled_from([[], [], *([one] for one in ends), [Tell("finish", (verbs.Finish(run),))]]))
    over = draw(st.sampled_from([[NewEpoch(), *end], [*end, NewEpoch()], end]))
    of = st.just((run, "e1"))
    found = [draw(tell("resolve", resolving(of))), draw(tell("undo", undoing(of)))]
    opened = verbs.Open(run, DAY, DAY, draw(st.sampled_from(["", "a"])))
    return [
        Tell("open", (opened,)),
        Tell("issue", (verbs.Issue(grant, run, "tool", (scope,), HOUR),)),
        _prepare(wanted, grant),
        *over,
        Move(draw(st.sampled_from([SECOND, RECENT_MS + SECOND, RECENT_MS + SECOND - 1, HOUR, HOUR]))),
        *draw(st.sampled_from([found, [*found, *found], found[::-1] + found])),
    ]


@st.composite
def attempt(
    draw: st.DrawFn, run: str, op: st.SearchStrategy[str], kind: DutyKind, job: int = 0
) -> list[Step]:
    """A compensator claims a duty and works on it; it ends well or badly, late or never."""
    work = work_on(run, draw(op), kind)
    verbs_of_it = ("claim", "renew", "complete", "fail")
    claim, *others = (replace(draw(work[verb]), lease="l1", job=job) for verb in verbs_of_it)
    keep, end, bad = (Tell(verb, (told,)) for verb, told in zip(verbs_of_it[1:], others, strict=True))
    wait = Move(_pick(draw, [1, SECOND, 5 * SECOND]))
    rival = Tell("claim", (replace(claim, lease="l2", worker="w2"),))
    ways: list[list[Step]] = [
        [rival, end],
        [end],
        [keep, end],
        [bad],
        [bad, bad],
        [bad, wait],
        [bad, wait, rival, bad],
        [wait, end],
        [wait, keep],
        [wait],
    ]
    return [Tell("claim", (claim,)), *_pick(draw, ways)]


@st.composite
def jobs(draw: st.DrawFn) -> list[Step]:
    """An action begins one job after the other, and others say what became of it, too; the run is stopped."""
    name = draw(st.integers(1, 9))
    run, grant, probe = f"j{name}", f"jg{name}", draw(st.sampled_from(["", "email.ask"]))
    wanted = Intent("e1", "email.send", "", digest(), Reversibility.REVERSIBLE, "email.recall", probe=probe)
    more = {"max_actions": 1000, "wait_ms": SECOND, "undo_ms": HOUR}
    said = st.sampled_from([*[ActionState.UNKNOWN] * 3, ActionState.SUCCEEDED, ActionState.FAILED])
    of = st.just((run, "e1"))
    names = draw(st.sampled_from([job, st.tuples(st.just("h-1"), st.just("job.stop"), st.just(""))]))
    word = _alone(st.builds(_settle, st.just(grant), st.just("e1"), said, names | handle))
    told = st.one_of(word, word, word, learn(run, st.just("e1"), DutyKind.ASK))
    walk = draw(st.lists(told, min_size=2, max_size=9))
    which = st.sampled_from([0, 0, 1, 1, 2, MAX_JOBS - 1])
    of_job = which.flatmap(lambda one: attempt(run, st.just("e1"), DutyKind.CALL_OFF, one))
    tries = draw(st.lists(of_job, max_size=4))
    settle = draw(st.lists(word, max_size=2))
    return [
        Tell("open", (verbs.Open(run, HOUR, DAY),)),
        Tell("issue", (verbs.Issue(grant, run, "tool", (Scope("*"),), HOUR),)),
        _use("perform", grant, intent=wanted, use_ms=SECOND, **more),
        *(step for some in walk for step in some),
        draw(st.sampled_from([Tell("cancel", (verbs.Cancel(run, StopReason.USER_STOP),)), Move(1)])),
        *(step for some in [*tries, *settle] for step in some),
        *draw(st.lists(tell("resolve", resolving(of)), max_size=1)),
        Tell("open_duties", (DutyKind.CALL_OFF, draw(st.sampled_from([1, 2, 99])))),
    ]


def _settled(grant: str, op: str, end: ActionState, kind: DutyKind) -> st.SearchStrategy[Use]:
    told = accepted if kind is DutyKind.CALL_OFF else handle
    return told.map(lambda one: _settle(grant, op, end, one))


def _settle(grant: str, op: str, end: ActionState, told: tuple[str, str, str]) -> Use:
    job = {"result_args": "", "handle": told[0], "canceller": told[1], "why_not": told[2]}
    return _use("settle", grant, op_id=op, outcome=end, receipt="", note="", **job)


def _handed_on(*chain: str, child: verbs.Open | None = None) -> list[Step]:
    more = {"max_delegations": 1000, "audience": "", "budgets": (), "sealed": False, "child": child}
    return [
        _use("delegate", above, grant_id=below, scopes=(Scope("*"),), ttl_ms=HOUR, **more)
        for above, below in pairwise(chain)
    ]


def _prepare(wanted: Intent, grant: str = "g1", ttl_ms: int = SECOND) -> Use:
    more = {"max_actions": 1000, "wait_ms": 5 * SECOND, "undo_ms": HOUR}
    return _use("prepare", grant, intent=wanted, ttl_ms=ttl_ms, **more)


def _use(verb: str, grant: str = "g1", **args: Any) -> Use:
    return Use(verb, grant, "as issued", "tool", args)


@st.composite
def archived(draw: st.DrawFn) -> list[Step]:
    """A run ends and is let go of; somebody ends it again, or goes on as if it were there."""
    run = draw(run_id)
    ends = st.sampled_from(
        [Tell("cancel", (verbs.Cancel(run, StopReason.USER_STOP),)), Tell("finish", (verbs.Finish(run),))]
    )
    end = draw(st.sampled_from([[], [draw(ends)], [draw(ends)], [Move(HOUR)], [Move(HOUR)]]))
    later = st.one_of(ends, ends, tell("open", opening), use("commit"), use("settle"), reading)
    again = draw(st.sampled_from([[], [LetGo(run)], [LetGo(run, late=True)]]))
    return [*end, LetGo(run, draw(st.sampled_from([False] * 4 + [True]))), draw(later), draw(later), *again]


STORIES = {
    "life": life(),
    "narrow": narrow(),
    "stop": stop(),
    "ask": ask(),
    "hand_on": hand_on(),
    "outlast": outlast(),
    "run_out": run_out(),
    "thaw": thaw(),
    "cut": cut(),
    "duty": duty(),
    "lost": lost(),
    "archived": archived(),
    "jobs": jobs(),
}
kind = st.sampled_from(
    ["life"] * 10
    + ["narrow"] * 4
    + ["stop"] * 2
    + ["ask"] * 4
    + ["hand_on"] * 4
    + ["outlast"] * 3
    + ["run_out"] * 3
    + ["thaw"] * 2
    + ["cut"] * 3
    + ["duty"] * 9
    + ["lost"]
    + ["archived"] * 2
    + ["jobs"] * 2
    + [name for name, (weight, _) in KINDS.items() for _ in range(weight)]
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """One step, of the kinds as often as they are weighted; or a few that belong together."""
    name = draw(kind)
    return draw(STORIES[name]) if name in STORIES else [draw(KINDS[name][1])]


def _opened(*path: str) -> list[Step]:
    pairs = zip(["", *path], path, strict=False)
    return [
        Tell("open", (verbs.Open(run, HOUR, DAY, parent, **MARKED.get(run, {})),)) for parent, run in pairs
    ]


def _issued(
    run: str, *some: Scope, grant: str = "g1", ttl_ms: int = HOUR, sealed: bool = False
) -> list[Step]:
    asked = verbs.Issue(grant, run, "tool", some or (Scope("*"),), ttl_ms, sealed=sealed)
    return [Tell("issue", (asked,))]


#: Most sequences begin with something to act under: a run, a tree of runs, a path as deep as it may be.
beginning = st.sampled_from(
    [
        [],
        *[_opened("a") + _issued("a", ttl_ms=60 * SECOND) + _issued("a", grant="g2", sealed=True)] * 8,
        *[_opened("a", "b") + _issued("b") + _issued("a", grant="g2")] * 6,
        *[_opened("a", "b", "c", "d") + _issued("d", Scope("email.*", max_uses=1))] * 2,
        _opened(*DEEP) + _issued(DEEP[-2]),
        *[_opened("a") + _issued("a") + _handed_on("g1", "d1", child=verbs.Open("b", 0, DAY))] * 4,
        _opened("a") + _issued("a") + _handed_on(*CHAIN),
        _opened("a") + _issued("a") + _handed_on(*CHAIN, "too deep"),
    ]
)


def _joined(parts: tuple[list[list[Step]], ...]) -> list[Step]:
    return [step for part in parts for some in part for step in some]


def sequences(parts: int = 5) -> st.SearchStrategy[list[Step]]:
    """Sequences of some four steps a part; in parts, so that a failing one shrinks to very few steps."""
    bits = [st.lists(steps(), max_size=7) for _ in range(parts)]
    return st.tuples(beginning.map(lambda begun: [begun]), *bits).map(_joined)


def remembered(parts: int = 5) -> st.SearchStrategy[list[Step]]:
    """The same where no journal is let go of: what a report is told from is all there."""
    return sequences(parts).map(lambda steps: [one for one in steps if not isinstance(one, LetGo)])


def sequences_about(name: str) -> st.SearchStrategy[list[Step]]:
    """A few stories of one kind: what goes wrong there shows sooner than in sequences of everything."""
    return st.tuples(beginning.map(lambda begun: [begun]), st.lists(STORIES[name], max_size=6)).map(_joined)
