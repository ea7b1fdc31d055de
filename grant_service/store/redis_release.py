"""Letting go, in Redis: the journal in one step, then the records that nobody can act on without it."""

from collections.abc import Awaitable, Iterator

from grant_service.core import verbs
from grant_service.core.errors import Refusal
from grant_service.store import answers
from grant_service.store.by_scripts import ByScripts, Path

#: How many records are deleted in one command: Redis does nothing else meanwhile.
_AT_ONCE = 500


class RedisRelease(ByScripts):
    """Lets go of what is archived. What a crash leaves behind expires by itself."""

    async def release(self, command: verbs.Release) -> bool:
        """Let go of what a run left."""
        keys, run_id = self._keys, command.run_id
        fixed = [keys.meta, keys.run(run_id), keys.journal(run_id), keys.runs, keys.active]
        fixed += [keys.undoing, keys.undo(run_id)]

        def attempt(path: Path) -> Awaitable[bool | Refusal | answers.OtherPath]:
            args = (run_id, ",".join(path[:-1]), command.last_seq)
            names = [*fixed, *keys.path(path)]
            return self._control.decide(self._scripts["release"], names, args, answers.released)

        if await self._along_path((run_id,), attempt) is not True:
            return False
        left = list(self._left(command))
        for first in range(0, len(left), _AT_ONCE):
            await self._control.read(("UNLINK", *left[first : first + _AT_ONCE]))
        return True

    def _left(self, command: verbs.Release) -> Iterator[str]:
        keys, run_id = self._keys, command.run_id
        yield from keys.chain(command.grant_ids)
        for op_id in command.op_ids:
            yield keys.action(run_id, op_id)
            yield from keys.all_duties(run_id, op_id)
        yield from (keys.spending(run_id, op_id) for op_id in command.spending_ids)
