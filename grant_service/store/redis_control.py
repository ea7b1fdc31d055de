"""What operators decide in Redis: ending runs, fences, and what waits for a person.

It goes over the link of the reads, so that no queue of a tool's decisions delays it.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from grant_service.core import verbs
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.core.fence import FENCES
from grant_service.store import answers
from grant_service.store.asking import Word
from grant_service.store.by_scripts import ByScripts, Path

A = TypeVar("A")

#: How long the journal of a run that was cancelled before anybody opened it stays: 30 days. Its record stays.
TOMBSTONE_KEEP_MS = 30 * 24 * 3600 * 1000


class RedisControl(ByScripts):
    """Runs the scripts that stop, and those by which people agree or refuse."""

    async def cancel(self, command: verbs.Cancel) -> verbs.Cancelled:
        """End a run for good."""
        why = (command.reason.value, command.actor, command.note, command.tag)
        args = (command.run_id, *why, TOMBSTONE_KEEP_MS)
        make = partial(answers.cancelled, command.run_id)
        names = [*self._ending(command.run_id), self._keys.jobs, self._keys.cuts]
        answer = await self._decide("cancel", names, args, make, self._control)
        if not isinstance(answer, verbs.Cancelled):
            raise StoreFailed(ErrorReason.INTERNAL, cause="a cancel was refused")
        return answer

    def _ending(self, run_id: str) -> list[str]:
        keys = self._keys
        return [keys.meta, keys.run(run_id), keys.journal(run_id)]

    async def revoke(self, command: verbs.Revoke) -> verbs.Fenced | Refusal:
        """Kill what was issued before."""
        return await self._fence("revoke", _fencing(command), answers.fenced)

    async def freeze(self, command: verbs.Freeze) -> verbs.Fenced | Refusal:
        """Kill what was issued before, and block what comes later."""
        return await self._fence("freeze", (*_fencing(command), command.ttl_ms), answers.fenced)

    async def lift(self, command: verbs.Lift) -> verbs.Lifted | Refusal:
        """End a freeze."""
        args = (command.fence_id, command.actor, command.note)
        return await self._fence("lift", args, answers.lifted)

    async def _fence(
        self, verb: str, args: Sequence[Word], make: Callable[[bool, list[str]], A]
    ) -> A | Refusal:
        """Decide over the way on which no decision of a tool waits."""
        keys = self._keys
        names = [keys.meta, keys.anchors, keys.fences, keys.standing, keys.journal(FENCES)]
        return await self._decide(verb, names, args, make, self._control)

    async def approve(self, command: verbs.Approve) -> verbs.Approved | Refusal:
        """Agree to an action."""
        keys, run_id, op_id = self._keys, command.run_id, command.op_id
        fixed = [keys.meta, keys.awaiting, keys.journal(run_id), keys.action(run_id, op_id)]
        said = (command.ttl_ms, command.actor, command.note, command.amendment, command.amended_digest)

        def attempt(path: Path) -> Awaitable[verbs.Approved | Refusal | answers.OtherPath]:
            return self._control.decide(
                self._scripts["approve"],
                [*fixed, *keys.path(path)],
                (run_id, ",".join(path[:-1]), op_id, command.digest, *said),
                partial(answers.approved, op_id),
            )

        return await self._along_path((run_id,), attempt)

    async def deny(self, command: verbs.Deny) -> verbs.Denied | Refusal:
        """Refuse an action."""
        keys, run_id, op_id = self._keys, command.run_id, command.op_id
        names = [keys.meta, keys.awaiting, keys.journal(run_id), keys.action(run_id, op_id)]
        args, make = (run_id, op_id, command.actor, command.note), partial(answers.denied, op_id)
        return await self._decide("deny", names, args, make, self._control)


def _fencing(command: verbs.Revoke | verbs.Freeze) -> tuple[Word, ...]:
    """Write what revoke and freeze are told."""
    selector = command.selector
    named = (command.fence_id, "\n".join(selector.marks), selector.action, selector.text)
    return (*named, command.reason.value, command.actor, command.note, command.kill_ms)
