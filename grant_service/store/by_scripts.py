"""Deciding by scripts: what the verbs of the store in Redis have in common."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.store import answers
from grant_service.store.asking import Asker, Word
from grant_service.store.keys import Keys
from grant_service.store.scripts import Script

A = TypeVar("A")
Path = tuple[str, ...]

#: A run's path can change only by the run going away and being opened again; then we look again, this often.
_PATH_TRIES = 4


class ByScripts:
    """Runs scripts: over `decisions` those that come in numbers, over `control` those that must not wait."""

    def __init__(self, decisions: Asker, control: Asker, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._decisions, self._control, self._keys = decisions, control, keys
        self._scripts = scripts

    async def _decide(
        self,
        verb: str,
        keys: Sequence[str],
        args: Sequence[Word],
        make: Callable[[bool, list[str]], A],
        asker: Asker | None = None,
    ) -> A | Refusal:
        """Decide a verb whose path is known, or that has none."""
        answer = await (asker or self._decisions).decide(self._scripts[verb], keys, args, make)
        if isinstance(answer, answers.OtherPath):
            raise StoreFailed(ErrorReason.INTERNAL, cause="a script asked for another path")
        return answer

    async def _along_path(
        self, path: Path, attempt: Callable[[Path], Awaitable[A | Refusal | answers.OtherPath]]
    ) -> A | Refusal:
        """Ask with the path we know; the script tells when it is another one, having decided nothing."""
        for _ in range(_PATH_TRIES):
            answer = await attempt(path)
            if not isinstance(answer, answers.OtherPath):
                return answer
            path = answer.path
        raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="the run kept being opened again")
