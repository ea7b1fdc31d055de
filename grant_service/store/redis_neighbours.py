"""Asking the other sidecars on one Redis: a question on a channel, and the answers on one of the asker's.

Redis keeps nothing of them. It keeps who is there, so that one who is not heard is missed: for a while also
one that crashed, or cannot reach Redis, because what it alone knows may still be so.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from grant_service.core.errors import StoreFailed
from grant_service.core.neighbours import Told
from grant_service.store import answers
from grant_service.store.asking import Asker
from grant_service.store.keys import Keys
from grant_service.store.redis_hints import Hints
from grant_service.store.scripts import Script
from grant_service.tokens.claims import MAX_LIFE_MS

_log = structlog.get_logger()

#: How often a sidecar says that it is there, and how soon again if that failed, in seconds. It is missed for
#: as long as a grant may last by which somebody acts that it knew of.
_EVERY, _AGAIN = 30.0, 5.0
_MISSED_MS = MAX_LIFE_MS
#: How long answers are waited for, in seconds; how many are taken, and given at a time.
_PATIENCE, _MOST_ANSWERS, _MOST_REPLIES = 1.0, 128, 32


@dataclass(eq=False)
class _Question:
    """Who is to answer, and what came."""

    told: list[str] = field(default_factory=list)
    by: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    #: How many Redis gave the question to; None while that is not known.
    count: int | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, names: set[str], count: int) -> None:
        """Wait for these, and for so many."""
        self.names, self.count = names, count
        self._look()

    def hear(self, name: str, answer: str) -> None:
        """Take an answer."""
        if len(self.told) < _MOST_ANSWERS:
            self.told.append(answer)
            self.by.add(name)
        self._look()

    @property
    def missing(self) -> int | None:
        """How many have not answered."""
        if self.count is None:
            return None
        return max(len(self.names - self.by), self.count - len(self.told))

    def _look(self) -> None:
        if self.missing is not None and self.missing <= 0:
            self.answered.set()


class RedisNeighbours:
    """One sidecar among those on one Redis."""

    def __init__(
        self,
        asker: Asker,
        keys: Keys,
        present: Script,
        hints: Callable[..., Hints],
        name: str,
    ) -> None:
        """Take its name, which stays from one start to the next."""
        self._asker, self._keys, self._present, self._name = asker, keys, present, name
        #: Two sidecars that have one name by mistake are two here all the same.
        self._own = secrets.token_hex(8)
        self._hints = hints(keys.questions, keys.answers(self._own))
        self._answer: Callable[[str], str] = str
        self._asked: dict[str, _Question] = {}
        self._replies: set[asyncio.Task[None]] = set()
        self._presence: asyncio.Task[None] | None = None

    def answer_with(self, answer: Callable[[str], str]) -> None:
        """Be there from now on."""
        self._answer = answer
        self._hints.hear(self._heard)
        self._presence = asyncio.create_task(self._be_present(), name="presence")

    async def ask(self, question: str) -> Told:
        """Ask all that are there, or were not long ago."""
        if not self._hints.listening:
            return Told((), None)
        nonce = secrets.token_hex(8)
        asked = self._asked[nonce] = _Question()
        message = f"ask {self._own} {nonce} {question}"
        try:
            async with asyncio.timeout(_PATIENCE):
                names, count = await self._asker.read(
                    ("ZRANGEBYSCORE", self._keys.sidecars, "-inf", "+inf"),
                    ("PUBLISH", self._keys.questions, message),
                )
                asked.expect(set(names) - {self._name}, int(count) - 1)
                await asked.answered.wait()
        except (TimeoutError, StoreFailed):
            pass  # what came is told, and how many are missing
        finally:
            del self._asked[nonce]
        return Told(asked.told, asked.missing)

    def _heard(self, message: str) -> None:
        """Answer a question, or take an answer; what is neither is nobody's."""
        word, *rest = message.split(" ", 3)
        if len(rest) != 3:
            return
        if word == "ask" and rest[0] != self._own and len(self._replies) < _MOST_REPLIES:
            reply = asyncio.create_task(self._reply(*rest))
            self._replies.add(reply)
            reply.add_done_callback(self._replies.discard)
        elif word == "told" and (asked := self._asked.get(rest[0])):
            asked.hear(rest[1], rest[2])

    async def _reply(self, to: str, nonce: str, question: str) -> None:
        try:
            answer = self._answer(question)
            await self._asker.read(("PUBLISH", self._keys.answers(to), f"told {nonce} {self._name} {answer}"))
        except StoreFailed as failed:
            _log.info("neighbours: an answer did not get out", reason=failed.refusal.reason.value)
        except Exception:
            _log.exception("neighbours: a question was not answered")

    async def _be_present(self) -> None:
        keys, args = [self._keys.meta, self._keys.sidecars], (self._name, _MISSED_MS)
        while True:
            try:
                await self._asker.decide(self._present, keys, args, answers.pruned)
            except StoreFailed as failed:
                _log.info("neighbours: they are not told of this one", reason=failed.refusal.reason.value)
                await asyncio.sleep(_AGAIN)
            else:
                await asyncio.sleep(_EVERY)

    async def close(self) -> None:
        """Be missed by nobody."""
        at_work = [*self._replies, *([self._presence] if self._presence else [])]
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        await self._hints.close()
        if self._presence:
            with contextlib.suppress(StoreFailed):
                await self._asker.read(("ZREM", self._keys.sidecars, self._name))
