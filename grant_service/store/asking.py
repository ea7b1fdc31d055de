"""Asking Redis, and believing only an answer that shows whose it is.

A script is sent once. What comes back must echo the call's nonce and have the agreed shape; otherwise the
connection is let go of, and the caller hears that nothing is known.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, RedisError

from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.store import answers
from grant_service.store.faults import store_failed
from grant_service.store.link import Link
from grant_service.store.scripts import Script

A = TypeVar("A")
Word = str | int
Path = tuple[str, ...]

#: A run's path can change only by the run going away and being opened again; then we look again, this often.
_PATH_TRIES = 4


class Asker:
    """Asks over one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._nonces = itertools.count(secrets.randbits(47))

    async def decide(
        self, script: Script, keys: Sequence[str], args: Sequence[Word], make: Callable[[bool, list[str]], A]
    ) -> A | Refusal | answers.OtherPath:
        """Run a verb's script and read its answer."""
        nonce = self._nonce()
        reply = await self._run(script, len(keys), *keys, nonce, *args)
        with self.distrusting():
            return answers.read(reply, script.name, nonce, make)

    async def read(self, *commands: Sequence[Word]) -> list[Any]:
        """Read several things in one write. The echo at its end proves that the replies are in step."""
        if not commands:
            return []
        nonce = self._nonce()
        calls = [self._link.call(*command) for command in (*commands, ("ECHO", nonce))]
        try:
            *replies, echo = await asyncio.gather(*calls)
        except (RedisError, OSError, StoreFailed) as error:
            raise store_failed(error) from error
        with self.distrusting():
            answers.check_echo(echo, nonce)
        return replies

    @contextmanager
    def distrusting(self) -> Iterator[None]:
        """Let go of a connection over which came what was not agreed; what it decided is not known."""
        try:
            yield
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            self._link.drop("a reply had not the agreed shape")
            cause = "Redis gave an answer that does not belong to the call"
            raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause=cause) from error

    async def _run(self, script: Script, *words: Word) -> Any:
        """Run a script once: it is sent again only if Redis says that it has not run it."""
        try:
            try:
                return await self._link.call("EVALSHA", script.sha, *words)
            except NoScriptError:
                await self._link.call("SCRIPT", "LOAD", script.text)
                return await self._link.call("EVALSHA", script.sha, *words)
        except (RedisError, OSError, StoreFailed) as error:
            raise store_failed(error) from error

    def _nonce(self) -> str:
        return f"{next(self._nonces):012x}"


async def along_path(
    path: Path, attempt: Callable[[Path], Awaitable[A | Refusal | answers.OtherPath]]
) -> A | Refusal:
    """Ask with the path we know; the script tells when it is another one, having decided nothing."""
    for _ in range(_PATH_TRIES):
        answer = await attempt(path)
        if not isinstance(answer, answers.OtherPath):
            return answer
        path = answer.path
    raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="the run kept being opened again")
