"""The scripts: put together from the files in `lua/`, known to Redis by the SHA-1 of their text.

A script is a header (its first line, and nothing else on that line), the constants of core, the host, the
shared rules and the verb itself. Two versions of the service that know the same records may share a store:
each loads its own texts.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.duty import ASK_MS, AT_ONCE, MAX_JOBS, MOST_DOUBLINGS, NEVER
from grant_service.core.grant import MAX_CHAIN
from grant_service.core.journal import MAX_REFUSALS_KEPT
from grant_service.core.run import MAX_DEPTH, RECENT_MS
from grant_service.core.scope import PERMIT_MAY_BE_LOST

#: What the verbs of a tool need.
_CLEARED = ("_pattern", "_fence", "_owners", "_tool")

#: What prepare and perform need.
_PREPARED = (*_CLEARED, "_action", "_open_action", "_scope", "_cancel", "_stops", "_exhaust", "_prepare")

#: What the verbs about an action's duties need.
_ABOUT = ("_about", "_duty", "_duties")

#: What each script needs beside the rules, in order.
PARTS: dict[str, tuple[str, ...]] = {
    "open": ("_run", "_budget", "_open"),
    "issue": ("_pattern", "_fence", "_frozen", "_owners", "_budget", "_grant"),
    "delegate": (*_CLEARED, "_frozen", "_budget", "_narrow", "_grant", "_run", "_open"),
    "extend": _CLEARED,
    "prepare": _PREPARED,
    "commit": (*_CLEARED, "_action", "_open_action", "_duty", "_permit"),
    "perform": (*_PREPARED, "_duty", "_permit"),
    "settle": ("_owners", "_tool", "_action", "_own_action", "_duty", "_duties", "_jobs", "_stops"),
    "abandon": (*_CLEARED, "_action", "_own_action"),
    "spend": (*_CLEARED, "_cancel", "_stops", "_exhaust"),
    "cancel": ("_run", "_cancel", "_late", "_stops"),
    "finish": ("_late",),
    "revoke": ("_fence", "_fences", "_set_fence"),
    "freeze": ("_fence", "_fences", "_set_fence"),
    "lift": ("_fence", "_fences"),
    "approve": ("_awaiting",),
    "deny": ("_awaiting",),
    "resolve": (*_ABOUT, "_resolve", "_path"),
    "undo": (*_ABOUT, "_path"),
    "withdraw": _ABOUT,
    "claim": (*_ABOUT, "_path", "_cut_off", "_stops", "_lease", "_give_up"),
    "stopped": ("_stops",),
    "call_off": ("_call_off", "_path", "_cut_off", "_stops"),
    "renew": (*_ABOUT, "_lease", "_give_up"),
    "complete": (*_ABOUT, "_resolve", "_lease"),
    "fail": (*_ABOUT, "_lease", "_give_up"),
    "prune": (),
    "present": (),
    "release": (),
    "standing": (),
    "standing_when_full": (),
}

#: What still works when Redis is at its maxmemory: ending things, and saying what became of them.
ALLOW_OOM = frozenset(
    {
        *("cancel", "settle", "abandon", "finish", "revoke", "freeze", "deny"),
        *("resolve", "withdraw", "complete", "fail"),
        *("prune", "release", "standing_when_full"),
    }
)

#: Scripts that are another one's file under another header.
_FILES = {"standing_when_full": "standing"}

_CONSTANTS = (
    f"local CLOCK_TOLERANCE_MS, MAX_DEPTH, MAX_CHAIN = {CLOCK_TOLERANCE_MS}, {MAX_DEPTH}, {MAX_CHAIN}\n"
    f"local MAX_REFUSALS_KEPT, MOST_DOUBLINGS, ASK_MS = {MAX_REFUSALS_KEPT}, {MOST_DOUBLINGS}, {ASK_MS}\n"
    f"local RECENT_MS, PERMIT_MAY_BE_LOST, NEVER = {RECENT_MS}, '{PERMIT_MAY_BE_LOST}', '{NEVER}'\n"
    f"local AT_ONCE, MAX_JOBS = '{AT_ONCE}', {MAX_JOBS}"
)


@dataclass(frozen=True, slots=True)
class Script:
    """One verb's script."""

    name: str
    text: str
    sha: str


def scripts(host: str | None = None) -> dict[str, Script]:
    """Put all scripts together. `host` stands in for `_host.lua`, so that tests can set time and epoch.

    Records expire by the server's own clock: a time set by a test must lie ahead of it.
    """
    return {name: _script(name, host or _part("_host")) for name in PARTS}


def _script(name: str, host: str) -> Script:
    header = "#!lua flags=allow-oom" if name in ALLOW_OOM else "#!lua"
    parts = [_part("_rules"), *map(_part, PARTS[name]), _part(_FILES.get(name, name))]
    text = "\n".join([header, _CONSTANTS, host, *parts])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def _part(name: str) -> str:
    return resources.files("grant_service.store").joinpath("lua", f"{name}.lua").read_text("utf-8")
