"""The store in Redis or Valkey: one script for each verb, many sidecars, one truth.

Python names the keys, sends the script and checks what comes back; every decision is the script's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

from redis.exceptions import RedisError

from grant_service.core import verbs
from grant_service.core.action import Intent
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed, explain
from grant_service.core.grant import GrantRef
from grant_service.core.run import labels_text
from grant_service.core.scope import scopes_text
from grant_service.core.store import Durability, Standing
from grant_service.store import answers
from grant_service.store.asking import Asker, Word
from grant_service.store.dial import Dial
from grant_service.store.faults import store_failed
from grant_service.store.keys import Keys
from grant_service.store.link import Link
from grant_service.store.redis_reads import RedisReads
from grant_service.store.scripts import scripts

A = TypeVar("A")
Path = tuple[str, ...]

#: How long the journal of a run that was cancelled before anybody opened it stays: 30 days. Its record stays.
TOMBSTONE_KEEP_MS = 30 * 24 * 3600 * 1000

#: A run's path can change only by the run going away and being opened again; then we look again, this often.
_PATH_TRIES = 4


class ToolCommand(Protocol):
    """What every command of a tool says."""

    @property
    def grant(self) -> GrantRef: ...
    @property
    def peer(self) -> str: ...


class RedisStore(RedisReads):
    """Decides by the scripts. Cancels and reads have their own link: no queue of decisions delays them."""

    def __init__(
        self,
        link: Link,
        *,
        control: Link | None = None,
        prefix: str = "cm",
        partition: str = "p0",
        host: str | None = None,
        durability: Callable[[], Durability] = lambda: Durability.VOLATILE,
    ) -> None:
        """Use the links given; `host` is the text of another `_host.lua`, for tests to set time and epoch."""
        self._links = [link, control] if control else [link]
        super().__init__(Asker(control or link), Keys(prefix, partition))
        self._decisions, self._scripts = Asker(link), scripts(host)
        self._durability = durability

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        accept_durability: Durability = Durability.SYNCED,
        timeout: float = 2.0,
        prefix: str = "cm",
        partition: str = "p0",
    ) -> Self:
        """Connect, or raise StoreFailed if the server is not fit to decide. `timeout`: seconds for a call."""
        dial = Dial(url, scripts().values(), accept_durability, timeout)
        link, control = dial.link(), dial.link()
        store = cls(link, control=control, prefix=prefix, partition=partition, durability=dial.durability)
        try:
            await link.call("PING")
            await store.standing()
        except (RedisError, OSError, StoreFailed) as error:
            await store.close()
            raise dial.named(store_failed(error), error) from error
        return store

    async def open(self, command: verbs.Open) -> verbs.Opened | Refusal:
        """Open a run."""
        keys, parent = self._keys, command.parent
        fixed = [keys.meta, keys.runs, keys.run(command.run_id), keys.journal(command.run_id)]
        fixed += [keys.run(parent), keys.journal(parent)] if parent else []
        content = (parent, command.subject, command.agent, command.tenant, labels_text(command.labels))

        def attempt(path: Path) -> Awaitable[verbs.Opened | Refusal | answers.OtherPath]:
            args = (command.run_id, ",".join(path), command.ttl_ms, command.keep_ms, *content)
            return self._decisions.decide(
                self._scripts["open"], [*fixed, *keys.path(path)], args, answers.opened
            )

        return await _along_path((parent or command.run_id,), attempt)

    async def issue(self, command: verbs.Issue) -> verbs.Issued | Refusal:
        """Issue a grant."""
        keys, run_id = self._keys, command.run_id
        fixed = [keys.meta, keys.journal(run_id), keys.grant(command.grant_id)]
        used = ",".join("0" for _ in command.scopes)
        content = (command.audience, scopes_text(command.scopes), used, command.ttl_ms)

        def attempt(path: Path) -> Awaitable[verbs.Issued | Refusal | answers.OtherPath]:
            args = (command.grant_id, run_id, ",".join(path[:-1]), *content)
            return self._decisions.decide(
                self._scripts["issue"], [*fixed, *keys.path(path)], args, answers.issued
            )

        return await _along_path((run_id,), attempt)

    async def prepare(self, command: verbs.Prepare) -> verbs.Prepared | Refusal:
        """Record an intended action."""
        args: Sequence[Word] = (*_words(command.intent), command.max_actions, command.ttl_ms)
        return await self._act("prepare", command, command.intent.op_id, args, answers.prepared)

    async def commit(self, command: verbs.Commit) -> verbs.Permitted | Refusal:
        """Decide whether a prepared action may happen."""
        args = (command.digest, command.use_ms)
        return await self._act("commit", command, command.op_id, args, answers.permitted)

    async def perform(self, command: verbs.Perform) -> verbs.Permitted | Refusal:
        """Prepare and commit in one step."""
        args: Sequence[Word] = (*_words(command.intent), command.max_actions, command.use_ms)
        return await self._act("perform", command, command.intent.op_id, args, answers.permitted)

    async def settle(self, command: verbs.Settle) -> verbs.Settled | Refusal:
        """Record an outcome."""
        args = (command.outcome.value, command.receipt, command.note)
        return await self._act("settle", command, command.op_id, args, answers.settled)

    async def abandon(self, command: verbs.Abandon) -> verbs.Abandoned | Refusal:
        """Give up a prepared action."""
        return await self._act("abandon", command, command.op_id, (command.note,), answers.abandoned)

    async def cancel(self, command: verbs.Cancel) -> verbs.Cancelled:
        """End a run for good."""
        keys, run_id = self._keys, command.run_id
        names = [keys.meta, keys.run(run_id), keys.journal(run_id)]
        why = (command.reason.value, command.actor, command.note, command.tag)
        args, make = (run_id, *why, TOMBSTONE_KEEP_MS), partial(answers.cancelled, run_id)
        answer = await self._decide("cancel", names, args, make, self._control)
        if not isinstance(answer, verbs.Cancelled):
            raise StoreFailed(ErrorReason.INTERNAL, cause="a cancel was refused")
        return answer

    async def finish(self, command: verbs.Finish) -> verbs.Finished | Refusal:
        """End a run that did its work."""
        keys, run_id = self._keys, command.run_id
        names = [keys.meta, keys.run(run_id), keys.journal(run_id)]
        return await self._decide("finish", names, (run_id, command.actor, command.note), answers.finished)

    async def standing(self) -> Standing:
        """Tell how the store stands; the answer proves that it can write, or says that it has no room."""
        try:
            return await self._standing("standing", "")
        except StoreFailed as failed:
            if failed.refusal.reason is not ErrorReason.STORE_FULL:
                raise
            return await self._standing("standing_when_full", explain(failed.refusal))

    async def _standing(self, script: str, trouble: str) -> Standing:
        make = partial(answers.standing, self._durability, trouble)
        answer = await self._decide(script, [self._keys.meta], (), make, self._control)
        if not isinstance(answer, Standing):
            raise StoreFailed(ErrorReason.INTERNAL, cause="the standing was refused")
        return answer

    async def close(self) -> None:
        """Finish what is under way and let go of Redis."""
        await asyncio.gather(*(link.close() for link in self._links))

    async def _act(
        self,
        verb: str,
        command: ToolCommand,
        op_id: str,
        args: Sequence[Word],
        make: Callable[[str, bool, list[str]], A],
    ) -> A | Refusal:
        """Decide a tool's verb: one round trip, the path being the token's."""
        keys, grant = self._keys, command.grant
        names = [keys.meta, keys.journal(grant.run_id), keys.grant(grant.grant_id)]
        names += [keys.action(grant.run_id, op_id), *keys.path((*grant.ancestors, grant.run_id))]
        who = (verb, grant.grant_id, grant.run_id, ",".join(grant.ancestors), command.peer, op_id)
        return await self._decide(verb, names, (*who, *args), partial(make, op_id))

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
    path: Path, attempt: Callable[[Path], Awaitable[A | Refusal | answers.OtherPath]]
) -> A | Refusal:
    """Ask with the path we know; the script tells when it is another one, having decided nothing."""
    for _ in range(_PATH_TRIES):
        answer = await attempt(path)
        if not isinstance(answer, answers.OtherPath):
            return answer
        path = answer.path
    raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="the run kept being opened again")


def _words(intent: Intent) -> tuple[str, ...]:
    named = (intent.digest, intent.action, intent.resource)
    return (*named, intent.reversibility.value, intent.compensation)
