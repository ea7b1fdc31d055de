"""Random sequences of calls, from pools so small that they collide: replays, conflicts, late and early calls.

A sequence is data: it says "the grant g1 as it was issued", and becomes real calls when the model plays it.
Pools hold values just inside and just outside of what is allowed.
"""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.run import MAX_DEPTH, StopReason
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


Step = Tell | Use | Again | Burst | Move | NewEpoch

RUNS = ("a", "b", "c", "d")
DEEP = tuple(f"deep-{level}" for level in range(1, MAX_DEPTH + 2))

run_id = st.sampled_from(RUNS)
grant_id = st.sampled_from([*["g1"] * 20, *["g2"] * 4, "g3"])
op_id = st.sampled_from([*["o1"] * 6, *["o2"] * 2, "o3"])
words = st.sampled_from(["", "", "u-7", "\u00e4\U0001f600", '"\n\\ {}[]%s', "\x00\x1f", "a,b", " "])
labels = st.sampled_from([{}, {}, {"a": "1"}, {"b": "", "a": "\u00e9\n"}])
peer = st.sampled_from(["tool"] * 19 + ["thief"])
twist = st.sampled_from(["as issued"] * 60 + ["other run", "no path", "longer path"])
short_ms = st.sampled_from([1, SECOND, 5 * SECOND, 60 * SECOND, 60 * SECOND])
max_actions = st.sampled_from([1000] * 8 + [3, 1])
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
)
scopes = st.sampled_from([(Scope("*"),)] * 3) | st.lists(scope, min_size=1, max_size=3).map(tuple)

#: What an op_id usually means, so that most repetitions are the same action, and what it sometimes means.
usual = op_id.map(lambda op: Intent(op, "email.send", "a/b", digest(), Reversibility.IRREVERSIBLE))
unusual = st.builds(
    Intent,
    op_id=op_id,
    action=action,
    resource=st.sampled_from(RESOURCES),
    digest=arguments,
    reversibility=reversibility,
    compensation=st.sampled_from(["", "email.recall"]),
)
intent = st.one_of(*[usual] * 5, unusual)

opening = st.builds(
    verbs.Open,
    run_id=run_id,
    ttl_ms=st.sampled_from([5 * SECOND, HOUR, HOUR, DAY]),
    keep_ms=st.just(DAY),
    parent=st.sampled_from(["", "", *RUNS]),
    subject=words,
    labels=labels,
)
issuing = st.builds(
    verbs.Issue,
    grant_id=grant_id,
    run_id=run_id,
    audience=st.sampled_from(["tool"] * 9 + ["other"]),
    scopes=scopes,
    ttl_ms=st.sampled_from([SECOND, 60 * SECOND, HOUR, HOUR]),
)
cancelling = st.builds(verbs.Cancel, run_id, st.sampled_from(StopReason), actor=words, note=words, tag=words)
finishing = st.builds(verbs.Finish, run_id, actor=words, note=words)
outcome = st.sampled_from([ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN])

#: The rest of each command of a tool, beside the grant and the peer.
TOOL_ARGS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "prepare": {"intent": intent, "ttl_ms": short_ms, "max_actions": max_actions},
    "commit": {"op_id": op_id, "digest": arguments, "use_ms": short_ms},
    "perform": {"intent": intent, "use_ms": short_ms, "max_actions": max_actions},
    "settle": {"op_id": op_id, "outcome": outcome, "receipt": words, "note": words},
    "abandon": {"op_id": op_id, "note": words},
}


def use(verb: str) -> st.SearchStrategy[Use]:
    """A tool's verb."""
    return st.builds(Use, st.just(verb), grant_id, twist, peer, st.fixed_dictionaries(TOOL_ARGS[verb]))


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
)
moves = [1, 1, 999, 999, SECOND, 4 * SECOND, 5 * SECOND, 59 * SECOND, HOUR - 1, HOUR]
moves += [-1, -SECOND, -5 * SECOND, -CLOCK_TOLERANCE_MS, -CLOCK_TOLERANCE_MS - 1, CLOCK_TOLERANCE_MS]
in_bursts = ["commit", "commit", "commit", "perform", "perform", "settle", "prepare", "prepare"]
bursting = st.one_of(*map(use, in_bursts), tell("cancel", cancelling))

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
    "read": (6, reading),
    "again": (14, st.sampled_from([1, 1, 1, 2, 3, 5, 8, 12]).map(Again)),
    "burst": (6, st.lists(bursting, min_size=2, max_size=5).map(lambda calls: Burst(tuple(calls)))),
    "move": (8, st.sampled_from(moves).map(Move)),
    "epoch": (1, st.just(NewEpoch())),
}


@st.composite
def life(draw: st.DrawFn) -> list[Step]:
    """One action under the first grant, asked for as a good tool does; some break off, some are late."""
    wanted, use_ms, end = draw(intent), draw(short_ms), draw(outcome)
    prepare = _use("prepare", intent=wanted, ttl_ms=SECOND, max_actions=1000)
    commit = _use("commit", op_id=wanted.op_id, digest=wanted.digest, use_ms=use_ms)
    perform = _use("perform", intent=wanted, use_ms=use_ms, max_actions=1000)
    settle = _use("settle", op_id=wanted.op_id, outcome=end, receipt="1", note="")
    abandon = _use("abandon", op_id=wanted.op_id, note="")
    wait = Move(draw(st.sampled_from([SECOND - 1, SECOND, SECOND])))
    lives: list[list[Step]] = [[prepare, commit, settle], [prepare, commit], [perform, settle], [perform]]
    return draw(st.sampled_from([*lives, [prepare, abandon], [prepare, wait, commit]]))


@st.composite
def narrow(draw: st.DrawFn) -> list[Step]:
    """A grant of its own, narrow and perhaps short, and two actions at once that fit it, or almost do."""
    name, pattern = draw(st.integers(1, 6)), draw(st.sampled_from(PATTERNS))
    grant, op = f"s{name}", f"p{name}"
    one_use, near = Scope("*", max_uses=1), Scope(draw(scope_action), pattern, 0, draw(reversibility))
    granted = draw(st.sampled_from([one_use, near, near, replace(near, max_uses=1)]))
    asked = [
        Intent(f"{op}-{n}", draw(action), draw(st.sampled_from(NEAR[pattern])), digest(), draw(reversibility))
        for n in (1, 2)
    ]
    prepares = [_use("prepare", grant, intent=one, ttl_ms=HOUR, max_actions=1000) for one in asked]
    return [
        Tell("issue", (verbs.Issue(grant, "a", "tool", (granted,), draw(st.sampled_from([SECOND, HOUR]))),)),
        prepares[0],
        *draw(st.sampled_from([[], [], [Move(SECOND - 1)], [Move(SECOND)]])),
        prepares[1],
        *[_use("commit", grant, op_id=one.op_id, digest=digest(), use_ms=SECOND) for one in asked],
    ]


@st.composite
def stop(draw: st.DrawFn) -> list[Step]:
    """A run, or one above it, ends between the prepare and the commit; afterwards the tool goes on trying."""
    begun = draw(life())
    run = draw(st.sampled_from(["a", "a", "a", "b", "d"]))
    ends: list[Step] = [
        Tell("finish", (verbs.Finish(run),)),
        Tell("cancel", (verbs.Cancel(run, StopReason.INCIDENT),)),
    ]
    after = [_use("abandon", op_id="o1", note=""), _use("commit", op_id="o1", digest=digest(), use_ms=1)]
    wait = draw(st.sampled_from([[], [Move(SECOND)]]))
    return [
        *begun[:1],
        *wait,
        draw(st.sampled_from(ends)),
        *wait,
        *after,
        *begun[1:],
        *draw(st.permutations(ends)),
    ]


def _use(verb: str, grant: str = "g1", **args: Any) -> Use:
    return Use(verb, grant, "as issued", "tool", args)


STORIES = {"life": life(), "narrow": narrow(), "stop": stop()}
kind = st.sampled_from(
    ["life"] * 12
    + ["narrow"] * 4
    + ["stop"] * 2
    + [name for name, (weight, _) in KINDS.items() for _ in range(weight)]
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """One step, of the kinds as often as they are weighted; or a few that belong together."""
    name = draw(kind)
    return draw(STORIES[name]) if name in STORIES else [draw(KINDS[name][1])]


def _opened(*path: str) -> list[Step]:
    pairs = zip(["", *path], path, strict=False)
    return [Tell("open", (verbs.Open(run, HOUR, DAY, parent),)) for parent, run in pairs]


def _issued(run: str, *some: Scope, grant: str = "g1", ttl_ms: int = HOUR) -> list[Step]:
    return [Tell("issue", (verbs.Issue(grant, run, "tool", some or (Scope("*"),), ttl_ms),))]


#: Most sequences begin with something to act under: a run, a tree of runs, a path as deep as it may be.
beginning = st.sampled_from(
    [
        [],
        *[_opened("a") + _issued("a", ttl_ms=60 * SECOND) + _issued("a", grant="g2")] * 8,
        *[_opened("a", "b") + _issued("b") + _issued("a", grant="g2")] * 6,
        *[_opened("a", "b", "c", "d") + _issued("d", Scope("email.*", max_uses=1))] * 2,
        _opened(*DEEP) + _issued(DEEP[-2]),
    ]
)


def _joined(parts: tuple[list[list[Step]], ...]) -> list[Step]:
    return [step for part in parts for some in part for step in some]


def sequences(parts: int = 5) -> st.SearchStrategy[list[Step]]:
    """Sequences of some four steps a part; in parts, so that a failing one shrinks to very few steps."""
    bits = [st.lists(steps(), max_size=8) for _ in range(parts)]
    return st.tuples(beginning.map(lambda begun: [begun]), *bits).map(_joined)
