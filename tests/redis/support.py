"""What the tests of the Redis store share: a story of all verbs, and looking at Redis from the side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import redis

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.errors import Refusal
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.store import Durability, Store
from grant_service.store.dial import Dial
from grant_service.store.keys import Keys, Life
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import scripts
from tests.support.redis_server import RedisServer

HOUR = 3_600_000
TOOL = "tool"
DIGEST = "ab" * 32


@dataclass
class Desk:
    """Speaks the verbs with as few words as a test needs."""

    store: Store
    run: str = "r-1"
    parents: tuple[str, ...] = ()
    grant: str = "g-1"

    @property
    def ref(self) -> GrantRef:
        """What the grant's token says."""
        return GrantRef(self.grant, self.run, self.parents, TOOL, "u-7")

    async def open(self, ttl_ms: int = HOUR, keep_ms: int = HOUR) -> verbs.Opened | Refusal:
        """Open the run, below its parent if it has one."""
        parent = self.parents[-1] if self.parents else ""
        return await self.store.open(verbs.Open(self.run, ttl_ms, keep_ms, parent, "u-7", "mailer"))

    async def issue(self, *scopes: Scope, ttl_ms: int = 60_000) -> verbs.Issued | Refusal:
        """Issue the grant: by default for everything."""
        return await self.store.issue(
            verbs.Issue(self.grant, self.run, TOOL, scopes or (Scope("*"),), ttl_ms)
        )

    async def prepare(self, op: str = "o-1", peer: str = TOOL, ttl_ms: int = 60_000) -> Any:
        """Prepare to send a mail."""
        return await self.store.prepare(verbs.Prepare(self.ref, peer, intent(op), ttl_ms, 1000))

    async def commit(self, op: str = "o-1", digest: str = DIGEST) -> Any:
        """Ask whether to send it now."""
        return await self.store.commit(verbs.Commit(self.ref, TOOL, op, digest, 5_000))

    async def perform(self, op: str = "o-1") -> Any:
        """Both at once."""
        return await self.store.perform(verbs.Perform(self.ref, TOOL, intent(op), 5_000, 1000))

    async def settle(self, op: str = "o-1", outcome: ActionState = ActionState.SUCCEEDED) -> Any:
        """Say what became of it."""
        return await self.store.settle(verbs.Settle(self.ref, TOOL, op, outcome, "receipt"))

    async def abandon(self, op: str = "o-1") -> Any:
        """Give it up."""
        return await self.store.abandon(verbs.Abandon(self.ref, TOOL, op))

    async def cancel(self) -> verbs.Cancelled:
        """Cancel the run."""
        return await self.store.cancel(verbs.Cancel(self.run, StopReason.USER_STOP, "u-7"))

    async def finish(self) -> Any:
        """Finish the run."""
        return await self.store.finish(verbs.Finish(self.run))

    async def kinds(self) -> list[str]:
        """What the run's journal says, one word a line."""
        return [str(entry.kind) for entry in await self.store.journal(self.run, 0, 10_000)]

    async def ready(self) -> "Desk":
        """Open the run and issue the grant."""
        assert isinstance(await self.open(), verbs.Opened)
        assert isinstance(await self.issue(), verbs.Issued)
        return self


def intent(op: str) -> Intent:
    """Sending a mail that cannot be taken back."""
    return Intent(op, "email.send", "mailto:team@example.com", DIGEST, Reversibility.IRREVERSIBLE)


async def story(store: Store) -> list[Any]:
    """Go through every verb with its answer, its replay and its refusals, and through every way to read."""
    parent = Desk(store)
    desk = replace(parent, run="r-2", parents=("r-1",), grant="g-2")
    other = replace(desk, grant="g-3")
    told: list[Any] = [await desk.open(), await parent.open(), await parent.open(), await desk.open()]
    told += [await desk.open(), await desk.open(ttl_ms=1), await desk.issue(), await desk.issue()]
    told += [await other.issue(Scope("email.send", max_uses=1)), await desk.issue(Scope("sms.*"))]
    told += [await desk.commit(), await desk.prepare(), await desk.prepare(), await desk.prepare("o-2")]
    told += [await desk.prepare(peer="else"), await desk.settle(), await desk.commit(digest="cd" * 32)]
    told += [await desk.commit(), await desk.commit(), await desk.abandon(), await desk.settle()]
    told += [await desk.settle(), await desk.settle(outcome=ActionState.FAILED), await desk.commit()]
    told += [await desk.abandon("o-2"), await desk.abandon("o-2"), await desk.commit("o-2")]
    told += [await other.perform("o-3"), await other.perform("o-3"), await other.perform("o-4")]
    told += [await other.commit("o-1"), await desk.prepare("o-5"), await desk.settle("o-9")]
    lone = Desk(store, run="r-3", grant="g-4")
    told += [await lone.finish(), await lone.open(), await lone.issue(), await lone.finish()]
    told += [await lone.finish(), await lone.perform()]
    told += [
        await parent.cancel(),
        await parent.cancel(),
        await desk.commit("o-5"),
        await desk.perform("o-6"),
    ]
    told += [
        await desk.open(),
        await desk.issue(),
        await replace(desk, run="r-4").open(),
        await parent.finish(),
    ]
    told += [await Desk(store, run="r-5").cancel(), await Desk(store, run="r-5").open()]
    told += [await store.runs(["r-1", "r-2", "r-9"]), await store.run_ids(0, 10), await store.run_ids(3, 1)]
    told += [await desk.kinds(), await parent.kinds(), await store.standing()]
    return told


@asynccontextmanager
async def hosted(server: RedisServer, host: str) -> AsyncIterator[RedisStore]:
    """A store whose scripts run on another `_host.lua`."""
    link = Dial(server.url, scripts(host).values(), Durability.VOLATILE, 2.0).link()
    store = RedisStore(link, host=host)
    yield store
    await store.close()


def leaks(client: redis.Redis, keys: Keys | None = None) -> list[str]:
    """Name the keys that live otherwise than `keys.LIVES` declares."""
    keys = keys or Keys()
    return [key for key in client.scan_iter(count=1000) if not _declared(client, keys, key)]


def _declared(client: redis.Redis, keys: Keys, key: str) -> bool:
    try:
        life = keys.life(key)
    except KeyError:
        return False
    stays = client.pttl(key) == -1
    if life is Life.TOMBSTONE:
        return stays == (client.hget(key, "state") == "CANCELLED")
    return stays == (life is Life.PERMANENT)
