"""The verbs about duties, in Redis: what operators ask for, and what compensators report."""

from collections.abc import Awaitable, Sequence
from functools import partial

from grant_service.core import verbs
from grant_service.core.duty import which
from grant_service.core.errors import Refusal
from grant_service.store import answers
from grant_service.store.asking import Word
from grant_service.store.by_scripts import ByScripts, Path


class RedisDuties(ByScripts):
    """An operator's verbs go over the way on which no decision of a tool waits, a compensator's do not."""

    async def resolve(self, command: verbs.Resolve) -> verbs.Resolved | Refusal:
        """Say what became of an action."""
        keys, run_id, op_id = self._keys, command.run_id, command.op_id
        fixed = self._about(run_id, op_id)
        told = (run_id, op_id, command.outcome.value, command.actor, command.evidence)

        def attempt(path: Path) -> Awaitable[verbs.Resolved | Refusal | answers.OtherPath]:
            return self._control.decide(
                self._scripts["resolve"],
                [*fixed, keys.awaiting, *keys.path(path)],
                (*told, ",".join(path[:-1])),
                partial(answers.resolved, op_id),
            )

        return await self._along_path((run_id,), attempt)

    async def undo(self, command: verbs.Undo) -> verbs.UndoAsked | Refusal:
        """Ask for an effect to be undone."""
        keys, run_id, op_id = self._keys, command.run_id, command.op_id
        fixed = [*self._about(run_id, op_id), keys.undoing]

        def attempt(path: Path) -> Awaitable[verbs.UndoAsked | Refusal | answers.OtherPath]:
            return self._control.decide(
                self._scripts["undo"],
                [*fixed, *keys.path(path)],
                (run_id, op_id, command.actor, command.note, ",".join(path[:-1])),
                partial(answers.undo_asked, op_id),
            )

        return await self._along_path((run_id,), attempt)

    async def withdraw(self, command: verbs.Withdraw) -> verbs.Withdrawn | Refusal:
        """Take back the authority to undo an effect."""
        run_id, op_id = command.run_id, command.op_id
        args = (run_id, op_id, command.actor, command.note)
        make = partial(answers.withdrawn, op_id)
        return await self._decide("withdraw", self._about(run_id, op_id), args, make, self._control)

    async def claim(self, command: verbs.Claim) -> verbs.Claimed | Refusal:
        """Take on a duty."""
        keys, which = self._keys, _which(command)
        fixed = self._about(command.run_id, command.op_id)
        asked = (command.worker, command.lease_ms, command.max_attempts)

        def attempt(path: Path) -> Awaitable[verbs.Claimed | Refusal | answers.OtherPath]:
            return self._decisions.decide(
                self._scripts["claim"],
                [*fixed, keys.jobs, *keys.path(path)],
                (*_held(command), *asked, ",".join(path[:-1])),
                partial(answers.claimed, which),
            )

        return await self._along_path((command.run_id,), attempt)

    async def renew(self, command: verbs.Renew) -> verbs.Claimed | Refusal:
        """Keep a duty."""
        args = (*_held(command), command.lease_ms)
        about = self._about(command.run_id, command.op_id)
        return await self._decide("renew", about, args, partial(answers.claimed, _which(command)))

    async def complete(self, command: verbs.Complete) -> verbs.Completed | Refusal:
        """Record that a duty is carried out."""
        run_id, op_id = command.run_id, command.op_id
        told = (command.outcome, command.receipt, command.note)
        args = (*_held(command), *told)
        make = partial(answers.completed, op_id)
        return await self._decide("complete", self._about(run_id, op_id), args, make)

    async def fail(self, command: verbs.Fail) -> verbs.Failed | Refusal:
        """Record that an attempt did not work."""
        run_id, op_id = command.run_id, command.op_id
        told = (command.retry_ms, command.max_attempts, command.note, "1" if command.final else "")
        args = (*_held(command), *told)
        return await self._decide("fail", self._about(run_id, op_id), args, partial(answers.failed, op_id))

    def _about(self, run_id: str, op_id: str) -> list[str]:
        """Name what every verb about an action's duties needs."""
        keys = self._keys
        record = [keys.meta, keys.journal(run_id), keys.action(run_id, op_id)]
        return [*record, *keys.duties(run_id, op_id)]


_Command = verbs.Claim | verbs.Renew | verbs.Complete | verbs.Fail


def _which(command: _Command) -> answers.Which:
    """Name a duty."""
    return (command.run_id, command.op_id, command.kind, command.job)


def _held(command: _Command) -> Sequence[Word]:
    """Name a duty and the claim on it, for a script."""
    return (command.run_id, command.op_id, which(command.kind, command.job), command.lease)
