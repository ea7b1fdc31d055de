"""The store in Redis or Valkey: one script for each verb, many sidecars, one truth.

Python names the keys, sends the script and checks what comes back; every decision is the script's.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from grant_service.core import verbs
from grant_service.core.budget import budgets_text, costs_text
from grant_service.core.duty import DutyKind
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed, explain
from grant_service.core.fence import FENCES
from grant_service.core.grant import GrantRef
from grant_service.core.neighbours import Neighbours
from grant_service.core.run import labels_text
from grant_service.core.scope import scopes_text
from grant_service.core.store import Durability, Heard, Standing
from grant_service.store import answers
from grant_service.store.asking import Asker, Word
from grant_service.store.by_scripts import Path
from grant_service.store.dial import Dial
from grant_service.store.faults import store_failed
from grant_service.store.keys import PREFIX, Keys
from grant_service.store.link import Link
from grant_service.store.redis_control import RedisControl
from grant_service.store.redis_duties import RedisDuties
from grant_service.store.redis_hints import Hints
from grant_service.store.redis_neighbours import RedisNeighbours
from grant_service.store.redis_reads import RedisReads
from grant_service.store.redis_release import RedisRelease
from grant_service.store.scripts import scripts

A = TypeVar("A")


class ToolCommand(Protocol):
    """What every command of a tool says."""

    @property
    def grant(self) -> GrantRef: ...
    @property
    def peer(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Asking:
    """What a tool's verb is asked about: the record, the keys it needs besides, and what it is told."""

    op_id: str
    record: str
    more_keys: Sequence[str]
    args: Sequence[Word]


class RedisStore(RedisReads, RedisControl, RedisDuties, RedisRelease):
    """Decides by the scripts. Cancels and reads have their own link: no queue of decisions delays them.

    Whoever reads much for what decides nothing has a third, so that cancels do not wait behind that either.
    """

    def __init__(
        self,
        link: Link,
        *,
        control: Link | None = None,
        aside: Link | None = None,
        prefix: str = PREFIX,
        partition: str = "p0",
        host: str | None = None,
        durability: Callable[[], Durability] = lambda: Durability.VOLATILE,
        connection: Callable[[], AbstractConnection] | None = None,
    ) -> None:
        """Use the links given; `host` is the text of another `_host.lua`, for tests to set time and epoch."""
        self._links = [one for one in (link, control, aside) if one]
        self._aside = Asker(aside) if aside else None
        super().__init__(Asker(link), Asker(control or link), Keys(prefix, partition), scripts(host))
        self._durability = durability
        self._connection = connection
        self._hints = Hints(connection, self._keys.stops) if connection else None

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        accept_durability: Durability = Durability.SYNCED,
        timeout: float = 2.0,
        prefix: str = PREFIX,
        partition: str = "p0",
    ) -> Self:
        """Connect, or raise StoreFailed if the server is not fit to decide. `timeout`: seconds for a call."""
        dial = Dial(url, scripts().values(), accept_durability, timeout)
        link = dial.link()
        store = cls(
            link,
            control=dial.link(),
            aside=dial.link(),
            prefix=prefix,
            partition=partition,
            durability=dial.durability,
            connection=dial.connection,
        )
        try:
            await link.call("PING")
            await store.standing()
        except (RedisError, OSError, StoreFailed) as error:
            await store.close()
            raise dial.named(store_failed(error), error) from error
        return store

    def aside(self) -> "RedisStore":
        """Answer the same store, reading over the third link. It is closed with this one."""
        other = copy.copy(self)
        other._control = self._aside or self._control
        return other

    def on_stop(self, heard: Heard) -> None:
        """Say when something stops. Without a connection to hear it by, nobody is told."""
        if self._hints:
            self._hints.hear(heard)

    def neighbours(self, name: str) -> Neighbours | None:
        """Answer a way to the other sidecars on this Redis, for the one of this name."""
        if self._connection is None or self._aside is None:
            return None
        hints = partial(Hints, self._connection)
        return RedisNeighbours(self._aside, self._keys, self._scripts["present"], hints, name)

    async def open(self, command: verbs.Open) -> verbs.Opened | Refusal:
        """Open a run."""
        keys, parent = self._keys, command.parent
        fixed = [keys.meta, keys.runs, keys.active, keys.run(command.run_id), keys.journal(command.run_id)]
        fixed += [keys.run(parent), keys.journal(parent)] if parent else []
        content = (parent, command.subject, command.agent, command.tenant, *_opening(command))

        def attempt(path: Path) -> Awaitable[verbs.Opened | Refusal | answers.OtherPath]:
            when = (command.ttl_ms, command.keep_ms)
            return self._decisions.decide(
                self._scripts["open"],
                [*fixed, *keys.path(path)],
                (command.run_id, ",".join(path), *when, *content),
                answers.opened,
            )

        return await self._along_path((parent or command.run_id,), attempt)

    async def issue(self, command: verbs.Issue) -> verbs.Issued | Refusal:
        """Issue a grant."""
        keys, run_id = self._keys, command.run_id
        fixed = [keys.meta, keys.anchors, keys.fences, keys.journal(run_id), keys.grant(command.grant_id)]

        def attempt(path: Path) -> Awaitable[verbs.Issued | Refusal | answers.OtherPath]:
            who = (command.grant_id, run_id, ",".join(path[:-1]), command.audience)
            args: Sequence[Word] = (*who, *_granting(command))
            return self._decisions.decide(
                self._scripts["issue"], [*fixed, *keys.path(path)], args, answers.issued
            )

        return await self._along_path((run_id,), attempt)

    async def delegate(self, command: verbs.Delegate) -> verbs.Delegated | Refusal:
        """Hand on part of a grant."""
        keys, child = self._keys, command.child
        args: list[Word] = [command.grant_id, command.audience, *_granting(command), command.max_delegations]
        more: list[str] = []
        if child:
            args += [child.run_id, child.ttl_ms, child.keep_ms, child.agent, *_opening(child)]
            more = [keys.runs, keys.active, keys.run(child.run_id), keys.journal(child.run_id)]
        asking = _Asking("", keys.grant(command.grant_id), more, args)
        return await self._act("delegate", command, asking, answers.delegated)

    async def extend(self, command: verbs.Extend) -> verbs.Extended | Refusal:
        """Let a grant last longer."""
        keys, ref = self._keys, command.grant
        asking = _Asking("", keys.grant(ref.grant_id), [keys.journal(FENCES)], (command.ttl_ms,))
        return await self._act("extend", command, asking, answers.extended)

    async def prepare(self, command: verbs.Prepare) -> verbs.Prepared | Refusal:
        """Record an intended action."""
        asking = self._intent(command, command.ttl_ms)
        return await self._act("prepare", command, asking, partial(answers.prepared, asking.op_id))

    async def commit(self, command: verbs.Commit) -> verbs.Permitted | Refusal:
        """Decide whether a prepared action may happen."""
        asking = self._action(command, self._ask(command.op_id, command), (command.digest, command.use_ms))
        return await self._act("commit", command, asking, partial(answers.permitted, asking.op_id))

    async def perform(self, command: verbs.Perform) -> verbs.Permitted | Refusal:
        """Prepare and commit in one step."""
        asking = self._intent(command, command.use_ms, self._ask(command.intent.op_id, command))
        return await self._act("perform", command, asking, partial(answers.permitted, asking.op_id))

    async def settle(self, command: verbs.Settle) -> verbs.Settled | Refusal:
        """Record an outcome."""
        keys, op_id = self._keys, command.op_id
        told = (command.outcome.value, command.receipt, command.note)
        more = (command.result_args, command.handle, command.canceller, command.why_not)
        duties = [*keys.duties(command.grant.run_id, op_id), keys.jobs, keys.cuts]
        asking = self._action(command, duties, (*told, *more))
        return await self._act("settle", command, asking, partial(answers.settled, asking.op_id))

    async def abandon(self, command: verbs.Abandon) -> verbs.Abandoned | Refusal:
        """Give up a prepared action."""
        asking = self._action(command, (self._keys.awaiting,), (command.note,))
        return await self._act("abandon", command, asking, partial(answers.abandoned, asking.op_id))

    async def spend(self, command: verbs.Spend) -> verbs.Spent | Refusal:
        """Take from a budget."""
        keys, ref, op_id = self._keys, command.grant, command.op_id
        args = (command.budget, command.amount, "1" if command.incurred else "", command.max_spendings)
        more = (keys.jobs, keys.cuts, *keys.journals(ref.ancestors))
        asking = _Asking(op_id, keys.spending(ref.run_id, op_id), more, args)
        return await self._act("spend", command, asking, partial(answers.spent, op_id))

    async def finish(self, command: verbs.Finish) -> verbs.Finished | Refusal:
        """End a run that did its work."""
        args = (command.run_id, command.actor, command.note)
        return await self._decide("finish", self._ending(command.run_id), args, answers.finished)

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
        if self._hints:
            await self._hints.close()
        await asyncio.gather(*(link.close() for link in self._links))

    def _action(
        self, command: verbs.Commit | verbs.Settle | verbs.Abandon, more: Sequence[str], args: Sequence[Word]
    ) -> "_Asking":
        """Ask about an action that is on record."""
        record = self._keys.action(command.grant.run_id, command.op_id)
        return _Asking(command.op_id, record, more, args)

    def _ask(self, op_id: str, command: verbs.Commit | verbs.Perform) -> Sequence[str]:
        """Name what a permit may write beside its action: that somebody may ask what became of it."""
        return (self._keys.asking, self._keys.duty(command.grant.run_id, op_id, DutyKind.ASK))

    def _intent(
        self, command: verbs.Prepare | verbs.Perform, own_ms: int, own_keys: Sequence[str] = ()
    ) -> "_Asking":
        """Ask to put an action on record."""
        keys, ref, intent = self._keys, command.grant, command.intent
        more = (keys.jobs, keys.cuts, *keys.journals(ref.ancestors), keys.awaiting, *own_keys)
        args: Sequence[Word] = (
            intent.digest,
            intent.action,
            intent.resource,
            intent.reversibility.value,
            intent.compensation,
            intent.compensation_args,
            intent.probe,
            costs_text(intent.costs),
            intent.summary,
            command.max_actions,
            command.wait_ms,
            command.undo_ms,
            own_ms,
        )
        return _Asking(intent.op_id, keys.action(ref.run_id, intent.op_id), more, args)

    async def _act(
        self,
        verb: str,
        command: ToolCommand,
        asking: "_Asking",
        make: Callable[[bool, list[str]], A],
    ) -> A | Refusal:
        """Decide a tool's verb: one round trip, path and chain being the token's."""
        keys, ref = self._keys, command.grant
        names = [keys.meta, keys.anchors, keys.fences, keys.journal(ref.run_id), asking.record]
        names += [*keys.chain(ref.links), *keys.path(ref.path), *asking.more_keys]
        who = (verb, ref.grant_id, ref.run_id, ",".join(ref.ancestors), ",".join(ref.chain))
        return await self._decide(verb, names, (*who, command.peer, asking.op_id, *asking.args), make)


def _opening(command: verbs.Open) -> tuple[str, ...]:
    """Write the end of what open and delegate are told of a run."""
    labels = [f"label={name}={value}" for name, value in sorted(command.labels.items())]
    return (labels_text(command.labels), budgets_text(command.budgets), *labels)


def _granting(command: verbs.Issue | verbs.Delegate) -> tuple[Word, ...]:
    """Write what issue and delegate are told of a grant."""
    sealed = "1" if command.sealed else ""
    return (scopes_text(command.scopes), command.ttl_ms, budgets_text(command.budgets), sealed)
