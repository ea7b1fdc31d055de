"""Counting what was answered and what was stopped: plain numbers, of which the metrics are written.

Every call passes here, so a count is a look-up and an addition. A word that is counted is a member of an enum
or of a table of this file: nothing that a caller chooses is ever kept.
"""

from bisect import bisect_left

import structlog

from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import Fence
from grant_service.core.journal import Kind
from grant_service.core.run import Run, StopReason
from grant_service.core.verbs import Cancel, Cancelled

#: The verb of each call. What only reads is `read`; what a session does beside decisions is `watch`.
VERBS = {
    "GrantService.OpenRun": "open",
    "GrantService.IssueGrant": "issue",
    "GrantService.DelegateGrant": "delegate",
    "GrantService.ExtendGrant": "extend",
    "GrantService.FinishRun": "finish",
    "ActionService.PrepareAction": "prepare",
    "ActionService.CommitAction": "commit",
    "ActionService.PerformAction": "perform",
    "ActionService.SettleAction": "settle",
    "ActionService.AbandonAction": "abandon",
    "ActionService.SpendBudget": "spend",
    "SessionService.OpenSession": "watch",
    "ControlService.CancelRun": "cancel",
    "ControlService.RevokeGrants": "revoke",
    "ControlService.FreezeGrants": "freeze",
    "ControlService.LiftFence": "lift",
    "ControlService.ApproveAction": "approve",
    "ControlService.DenyAction": "deny",
    "ControlService.ResolveAction": "resolve",
    "ControlService.UndoRun": "undo",
    "ControlService.WithdrawUndo": "withdraw",
    "UndoService.ClaimDuty": "claim",
    "UndoService.RenewDuty": "renew",
    "UndoService.CompleteDuty": "complete",
    "UndoService.FailDuty": "fail",
}
_READ = "read"

#: What a yes is counted as: what gives a permit says so, everything else was done. A no is its reason.
PERMITTED, DONE = "PERMITTED", "DONE"
_YES = {"commit": PERMITTED, "perform": PERMITTED}

#: Upper bounds of the time an answer took, in seconds. What takes longer is in none of them.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_log = structlog.get_logger()


def verb_of(rpc: str) -> str:
    """Name the verb of a call."""
    return VERBS.get(rpc, _READ)


class Spread:
    """How long the answers of one verb took."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        #: How many were within each bound and above the one before; the last is for those beyond all.
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Tally:
    """The counts of one sidecar since its start. Only its event loop writes them."""

    def __init__(self) -> None:
        #: By verb and answer.
        self.answers: dict[tuple[str, str], int] = {}
        self.seconds = {verb: Spread() for verb in (*VERBS.values(), _READ)}
        self.stops = dict.fromkeys(StopReason, 0)

    def yes(self, verb: str, seconds: float) -> None:
        """Count a call that got what it asked for."""
        self._answer(verb, _YES.get(verb, DONE))
        self.seconds[verb].add(seconds)

    def no(self, verb: str, reason: ErrorReason, seconds: float | None = None) -> None:
        """Count a refusal. One that nobody had to think about took no time."""
        self._answer(verb, reason.value)
        if seconds is not None:
            self.seconds[verb].add(seconds)

    def _answer(self, verb: str, answer: str) -> None:
        key = (verb, answer)
        self.answers[key] = self.answers.get(key, 0) + 1

    def cancelled(self, told: Cancel, answer: Cancelled) -> None:
        """Say that a run was cancelled, by whom and why; once, however often it is asked for."""
        if not answer.replayed:
            who = {"actor": told.actor, "note": told.note, "tag": told.tag}
            self._stop(Kind.CANCELLED, told.reason, run=told.run_id, **who, seq=answer.seq)

    def finished(self, run: Run, *, replayed: bool) -> None:
        """Say that a run has finished."""
        if not replayed:
            who = {"actor": run.end_actor, "note": run.end_note}
            self._stop(Kind.FINISHED, StopReason.RUN_FINISHED, run=run.run_id, **who, seq=run.end_seq)

    def fenced(self, kind: Kind, fence: Fence, *, replayed: bool) -> None:
        """Say that a fence was set."""
        if not replayed:
            who = {"actor": fence.actor, "note": fence.note}
            self._stop(kind, StopReason(fence.reason), fence=fence.fence_id, **who, seq=fence.seq)

    def looked_at(self, answer: object) -> None:
        """Look whether a call ended what it asked too much of."""
        if isinstance(answer, Refusal) and answer.reason is ErrorReason.BUDGET_EXHAUSTED:
            told = answer.details
            ended = {name: told[f"ended_{name}"] for name in ("run", "grant") if f"ended_{name}" in told}
            if ended:
                self._stop(Kind.EXHAUSTED, StopReason.BUDGET, **ended, budget=told.get("budget", ""))

    def _stop(self, kind: Kind, reason: StopReason, **who: str | int) -> None:
        """Count it and log it in one step: whoever looks at one finds the other."""
        self.stops[reason] += 1
        _log.info(kind.lower(), reason=reason.value, **{name: value for name, value in who.items() if value})
