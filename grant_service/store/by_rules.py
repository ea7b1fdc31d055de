"""The verbs of a store that decides by the rules in Python: each is one rule, run in one atomic step."""

from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from grant_service.core import lifecycle, verbs
from grant_service.core.duty import LOOKS, RUNS_AT_ONCE
from grant_service.core.errors import Refusal
from grant_service.core.fence import FENCES
from grant_service.core.journal import STOPS, Kind
from grant_service.core.lifecycle.duties import call_off_stopped
from grant_service.core.store import Heard, State

C = TypeVar("C")
A = TypeVar("A")


def stopped(run_id: str, kind: Kind) -> list[str]:
    """Name what a new entry stops: the run whose journal it is in, or '' if it may be any."""
    if kind not in STOPS:
        return []
    return ["" if run_id == FENCES else run_id]


class ByRules:
    """What memory and SQLite have in common. They differ in how a step is made atomic and durable."""

    async def _decide(self, rule: Callable[[State, C], A], command: C) -> A:
        """Run a rule on the store's state, all or nothing."""
        raise NotImplementedError

    async def _call_off_stopped(self) -> None:
        """Look at runs that were stopped, until something is to be called off or none is left."""
        for _ in range(LOOKS):
            if not await self._any_stopped():
                return
            if await self._decide(call_off_stopped, RUNS_AT_ONCE):
                return

    async def _any_stopped(self) -> bool:
        """Say whether there is a run below which it is time to look."""
        raise NotImplementedError

    _hears: tuple[Heard, ...] = ()

    def aside(self) -> Self:
        """Answer itself: there is one way to it."""
        return self

    def neighbours(self, _: str) -> None:
        """There are none: a store in a process is one sidecar's alone."""

    def on_stop(self, heard: Heard) -> None:
        """Say when something stops."""
        self._hears = (*self._hears, heard)

    def _tell(self, stopped: Iterable[str]) -> None:
        for run_id in stopped:
            for heard in self._hears:
                heard(run_id)

    async def open(self, command: verbs.Open) -> verbs.Opened | Refusal:
        """Open a run."""
        return await self._decide(lifecycle.open, command)

    async def issue(self, command: verbs.Issue) -> verbs.Issued | Refusal:
        """Issue a grant."""
        return await self._decide(lifecycle.issue, command)

    async def prepare(self, command: verbs.Prepare) -> verbs.Prepared | Refusal:
        """Record an intended action."""
        return await self._decide(lifecycle.prepare, command)

    async def commit(self, command: verbs.Commit) -> verbs.Permitted | Refusal:
        """Decide whether a prepared action may happen."""
        return await self._decide(lifecycle.commit, command)

    async def perform(self, command: verbs.Perform) -> verbs.Permitted | Refusal:
        """Prepare and commit in one step."""
        return await self._decide(lifecycle.perform, command)

    async def settle(self, command: verbs.Settle) -> verbs.Settled | Refusal:
        """Record an outcome."""
        return await self._decide(lifecycle.settle, command)

    async def abandon(self, command: verbs.Abandon) -> verbs.Abandoned | Refusal:
        """Give up a prepared action."""
        return await self._decide(lifecycle.abandon, command)

    async def cancel(self, command: verbs.Cancel) -> verbs.Cancelled:
        """End a run for good."""
        return await self._decide(lifecycle.cancel, command)

    async def finish(self, command: verbs.Finish) -> verbs.Finished | Refusal:
        """End a run that did its work."""
        return await self._decide(lifecycle.finish, command)

    async def delegate(self, command: verbs.Delegate) -> verbs.Delegated | Refusal:
        """Hand on part of a grant."""
        return await self._decide(lifecycle.delegate, command)

    async def extend(self, command: verbs.Extend) -> verbs.Extended | Refusal:
        """Let a grant last longer."""
        return await self._decide(lifecycle.extend, command)

    async def spend(self, command: verbs.Spend) -> verbs.Spent | Refusal:
        """Take from a budget."""
        return await self._decide(lifecycle.spend, command)

    async def revoke(self, command: verbs.Revoke) -> verbs.Fenced | Refusal:
        """Kill what was issued before."""
        return await self._decide(lifecycle.revoke, command)

    async def freeze(self, command: verbs.Freeze) -> verbs.Fenced | Refusal:
        """Kill what was issued before, and block what comes later."""
        return await self._decide(lifecycle.freeze, command)

    async def lift(self, command: verbs.Lift) -> verbs.Lifted | Refusal:
        """End a freeze."""
        return await self._decide(lifecycle.lift, command)

    async def approve(self, command: verbs.Approve) -> verbs.Approved | Refusal:
        """Agree to an action."""
        return await self._decide(lifecycle.approve, command)

    async def deny(self, command: verbs.Deny) -> verbs.Denied | Refusal:
        """Refuse an action."""
        return await self._decide(lifecycle.deny, command)

    async def resolve(self, command: verbs.Resolve) -> verbs.Resolved | Refusal:
        """Say what became of an action."""
        return await self._decide(lifecycle.resolve, command)

    async def undo(self, command: verbs.Undo) -> verbs.UndoAsked | Refusal:
        """Ask for an effect to be undone."""
        return await self._decide(lifecycle.undo, command)

    async def withdraw(self, command: verbs.Withdraw) -> verbs.Withdrawn | Refusal:
        """Take back the authority to undo an effect."""
        return await self._decide(lifecycle.withdraw, command)

    async def claim(self, command: verbs.Claim) -> verbs.Claimed | Refusal:
        """Take on a duty."""
        return await self._decide(lifecycle.claim, command)

    async def renew(self, command: verbs.Renew) -> verbs.Claimed | Refusal:
        """Keep a duty."""
        return await self._decide(lifecycle.renew, command)

    async def complete(self, command: verbs.Complete) -> verbs.Completed | Refusal:
        """Record that a duty is carried out."""
        return await self._decide(lifecycle.complete, command)

    async def fail(self, command: verbs.Fail) -> verbs.Failed | Refusal:
        """Record that an attempt did not work."""
        return await self._decide(lifecycle.fail, command)

    async def release(self, command: verbs.Release) -> bool:
        """Let go of what a run left."""
        return await self._decide(lifecycle.release, command)
