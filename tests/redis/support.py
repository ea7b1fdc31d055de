"""What the tests of the Redis store share: a story of all verbs, and looking at Redis from the side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import redis

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.budget import Budget, Exhaustion
from grant_service.core.duty import DutyKind
from grant_service.core.errors import Refusal
from grant_service.core.fence import FENCES, selector_of
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
    chain: tuple[str, ...] = ()

    @property
    def ref(self) -> GrantRef:
        """What the grant's token says."""
        return GrantRef(self.grant, self.run, self.parents, TOOL, "u-7", self.chain)

    async def open(
        self, ttl_ms: int = HOUR, keep_ms: int = HOUR, budgets: tuple[Budget, ...] = ()
    ) -> verbs.Opened | Refusal:
        """Open the run, below its parent if it has one."""
        parent = self.parents[-1] if self.parents else ""
        who = (parent, "u-7", "mailer")
        return await self.store.open(verbs.Open(self.run, ttl_ms, keep_ms, *who, budgets=budgets))

    async def issue(
        self, *scopes: Scope, ttl_ms: int = 60_000, budgets: tuple[Budget, ...] = ()
    ) -> verbs.Issued | Refusal:
        """Issue the grant: by default for everything."""
        asked = (scopes or (Scope("*"),), ttl_ms, budgets)
        return await self.store.issue(verbs.Issue(self.grant, self.run, TOOL, *asked))

    async def prepare(
        self, op: str = "o-1", peer: str = TOOL, ttl_ms: int = 60_000, wanted: Intent | None = None
    ) -> Any:
        """Prepare to send a mail, or what is wanted."""
        told = (wanted or intent(op), ttl_ms, 1000, ttl_ms, HOUR)
        return await self.store.prepare(verbs.Prepare(self.ref, peer, *told))

    async def commit(self, op: str = "o-1", digest: str = DIGEST) -> Any:
        """Ask whether to send it now."""
        return await self.store.commit(verbs.Commit(self.ref, TOOL, op, digest, 5_000))

    async def perform(self, op: str = "o-1", use_ms: int = 5_000, wanted: Intent | None = None) -> Any:
        """Both at once."""
        told = (wanted or intent(op), use_ms, 1000, 60_000, HOUR)
        return await self.store.perform(verbs.Perform(self.ref, TOOL, *told))

    async def settle(
        self, op: str = "o-1", outcome: ActionState = ActionState.SUCCEEDED, handle: str = ""
    ) -> Any:
        """Say what became of it; with a handle, that it can still be called off."""
        more = ('{"id":7}', handle, "email.call_off" if handle else "")
        return await self.store.settle(verbs.Settle(self.ref, TOOL, op, outcome, "receipt", "", *more))

    async def abandon(self, op: str = "o-1") -> Any:
        """Give it up."""
        return await self.store.abandon(verbs.Abandon(self.ref, TOOL, op))

    async def cancel(self) -> verbs.Cancelled:
        """Cancel the run."""
        return await self.store.cancel(verbs.Cancel(self.run, StopReason.USER_STOP, "u-7"))

    async def finish(self) -> Any:
        """Finish the run."""
        return await self.store.finish(verbs.Finish(self.run))

    async def delegate(
        self, *scopes: Scope, grant: str = "g-8", child: str = "", ttl_ms: int = 60_000
    ) -> Any:
        """Hand on all of the grant, or part of it, perhaps to a child run."""
        opening = verbs.Open(child, 0, HOUR, labels={"step": "2"}) if child else None
        asked = (scopes or (Scope("*"),), ttl_ms, 1000)
        return await self.store.delegate(verbs.Delegate(self.ref, TOOL, grant, *asked, child=opening))

    async def extend(self, ttl_ms: int = 2 * HOUR) -> Any:
        """Let the grant last longer."""
        return await self.store.extend(verbs.Extend(self.ref, "", ttl_ms))

    async def spend(self, op: str = "o-1", amount: int = 1, incurred: bool = False) -> Any:
        """Take from the budget."""
        return await self.store.spend(verbs.Spend(self.ref, TOOL, op, "usd", amount, 1000, incurred))

    async def revoke(self, *marks: str, fence: str = "f-1") -> Any:
        """Kill what the run, or whatever has these marks, was issued."""
        named = selector_of(marks or [f"run={self.run}"])
        return await self.store.revoke(verbs.Revoke(fence, named, StopReason.INCIDENT, HOUR, "u-7"))

    async def freeze(self, *marks: str, fence: str = "f-2", action: str = "", ttl_ms: int = 0) -> Any:
        """Kill that, and block what comes later."""
        named = selector_of(marks, action) if marks or action else selector_of([f"run={self.run}"])
        why = (StopReason.INCIDENT, HOUR, "u-7", "")
        return await self.store.freeze(verbs.Freeze(fence, named, *why, ttl_ms))

    async def lift(self, fence: str = "f-2") -> Any:
        """End a freeze."""
        return await self.store.lift(verbs.Lift(fence, "u-7"))

    async def approve(self, op: str = "o-1") -> Any:
        """Agree to an action."""
        return await self.store.approve(verbs.Approve(self.run, op, DIGEST, 60_000, "u-7"))

    async def deny(self, op: str = "o-1") -> Any:
        """Say no to an action."""
        return await self.store.deny(verbs.Deny(self.run, op, "u-7"))

    async def effect(self, op: str = "o-1") -> Any:
        """Do what can be undone and asked about, and say that it is done."""
        await self.perform(wanted=undoable(op))
        return await self.settle(op)

    async def resolve(self, op: str = "o-1", outcome: ActionState = ActionState.SUCCEEDED) -> Any:
        """Say what became of what nobody settled."""
        return await self.store.resolve(verbs.Resolve(self.run, op, outcome, "u-7", "seen"))

    async def undo(self, op: str = "o-1") -> Any:
        """Ask for an effect to be undone."""
        return await self.store.undo(verbs.Undo(self.run, op, "u-7", "wrong list"))

    async def withdraw(self, op: str = "o-1") -> Any:
        """Take back the authority to undo it."""
        return await self.store.withdraw(verbs.Withdraw(self.run, op, "u-7"))

    async def claim(self, op: str = "o-1", kind: DutyKind = DutyKind.UNDO, lease: str = "l-1") -> Any:
        """Take on a duty."""
        return await self.store.claim(verbs.Claim(self.run, op, kind, "w-1", lease, 30_000, 2))

    async def renew(self, op: str = "o-1", kind: DutyKind = DutyKind.UNDO, lease: str = "l-1") -> Any:
        """Keep it."""
        return await self.store.renew(verbs.Renew(self.run, op, kind, lease, 30_000))

    async def complete(
        self, op: str = "o-1", kind: DutyKind = DutyKind.UNDO, lease: str = "l-1", outcome: str = "DONE"
    ) -> Any:
        """Say that it is carried out."""
        return await self.store.complete(verbs.Complete(self.run, op, kind, lease, outcome, "receipt"))

    async def fail(
        self, op: str = "o-1", kind: DutyKind = DutyKind.UNDO, lease: str = "l-1", final: bool = False
    ) -> Any:
        """Say that an attempt did not work."""
        return await self.store.fail(verbs.Fail(self.run, op, kind, lease, 1, 2, "busy", final))

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


def undoable(op: str) -> Intent:
    """Sending a mail that can be recalled, and whose sending can be asked about."""
    known = replace(intent(op), reversibility=Reversibility.COMPENSABLE, probe="email.was_sent")
    return replace(known, compensation="email.recall", compensation_args='{"to":"team"}')


async def story(store: Store) -> list[Any]:
    """Go through every verb with its answer, its replay and its refusals, and through every way to read."""
    parent = Desk(store)
    desk = replace(parent, run="r-2", parents=("r-1",), grant="g-2")
    other = replace(desk, grant="g-3")
    told: list[Any] = [await store.open_duties(DutyKind.CALL_OFF, 10)]
    told += [await desk.open(), await parent.open(), await parent.open(), await desk.open()]
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
    told += await handing_on(store) + await asking(store) + await spending(store) + await fencing(store)
    told += await undoing(store) + await calling_off(store) + await finding_out(store)
    return told


async def handing_on(store: Store) -> list[Any]:
    """Delegate in the run and to a child run, use what was handed on, and ask for too much."""
    desk = Desk(store, run="r-10", grant="g-10")
    told: list[Any] = [await desk.open(), await desk.issue(Scope("email.*", max_uses=2))]
    told += [await desk.delegate(Scope("email.send"), grant="g-11") for _ in range(2)]
    told += [await desk.delegate(grant="g-12"), await desk.delegate(Scope("sms.*"), grant="g-11")]
    told += [await desk.delegate(Scope("email.send"), grant="g-13", child="r-11") for _ in range(2)]
    told += [await desk.delegate(Scope("email.send"), grant="g-14", child="r-11")]
    near = replace(desk, grant="g-11", chain=("g-10",))
    far = replace(near, run="r-11", parents=("r-10",), grant="g-13")
    told += [await desk.extend(), await near.extend()]
    told += [await near.perform(), await far.perform(), await far.perform("o-2"), await far.settle()]
    told += [
        await store.grants(["g-11", "g-13", "none"]),
        await store.actions([("r-11", "o-1"), ("r-11", "o")]),
    ]
    return told


async def asking(store: Store) -> list[Any]:
    """Ask a person, who agrees, refuses or takes it back."""
    desk = Desk(store, run="r-20", grant="g-20")
    told: list[Any] = [await desk.open(), await desk.issue(Scope("*", approval_from=Reversibility.READ_ONLY))]
    told += [await desk.prepare(), await desk.perform("o-2"), await desk.prepare("o-3"), await desk.commit()]
    told += [await store.awaiting(), await desk.abandon("o-3"), await desk.approve(), await desk.approve()]
    told += [await desk.prepare(), await desk.deny("o-2"), await desk.deny("o-2"), await desk.perform("o-2")]
    told += [await desk.commit(), await desk.deny(), await desk.approve("o-9"), await desk.deny("o-9")]
    told += [await desk.prepare("o-4"), await desk.approve("o-3"), await store.awaiting()]
    return told


async def spending(store: Store) -> list[Any]:
    """Hold, take, give back and use up a budget of a run above and one of a grant."""
    few = (Budget("usd", 2), Budget("tool_calls", 3, Exhaustion.REFUSE))
    parent = Desk(store, run="r-30", grant="g-30")
    desk = Desk(store, run="r-31", parents=("r-30",), grant="g-31")
    told: list[Any] = [await parent.open(budgets=few), await desk.open(), await desk.issue(budgets=few[:1])]
    told += [await desk.prepare("o-1"), await desk.prepare("o-2"), await desk.prepare("o-3")]
    told += [await desk.prepare("o-4"), await desk.abandon("o-2"), await desk.commit("o-1")]
    told += [await desk.perform("o-4"), await desk.spend(), await desk.spend(), await desk.spend(amount=2)]
    told += [await desk.spend("o-2", incurred=True), await desk.spend("o-3"), await desk.spend("o-3")]
    lone = Desk(store, run="r-32", grant="g-32")
    told += [await lone.open(), await lone.issue(budgets=few[:1]), await lone.spend(amount=3)]
    told += [await lone.spend("o-2"), await store.recent_run_ids(0, 100, 0), await store.run_ids(0, 100)]
    return told


async def fencing(store: Store) -> list[Any]:
    """Set fences over runs and actions, run into them, lift them, and set them again when they are over."""
    desk = await Desk(store, run="r-40", grant="g-40").ready()
    told: list[Any] = [await desk.prepare(), await desk.freeze("agent=other"), await desk.revoke("run=r-41")]
    told += [await desk.freeze("run=r-40", fence="f-3", action="email.*"), await desk.commit()]
    told += [await desk.perform("o-2"), await replace(desk, grant="g-41").issue(Scope("email.send"))]
    told += [await desk.lift("f-3"), await desk.lift("f-3"), await desk.lift("f-1"), await desk.lift("none")]
    told += [await replace(desk, grant="g-41").issue(), await desk.freeze(fence="f-3"), await desk.commit()]
    gone = verbs.Revoke("f-4", selector_of(["run=gone"]), StopReason.POLICY, kill_ms=0)
    told += [await store.revoke(gone), await store.revoke(replace(gone, fence_id="f-5"))]
    told += [await store.revoke(gone), await desk.revoke(fence="f-6"), await desk.revoke(fence="f-6")]
    told += [await store.fences(), await store.journal(FENCES, 0, 100)]
    return told


async def undoing(store: Store) -> list[Any]:
    """Undo the effects of a run, the last one first, with a failure, a withdrawal and every refusal."""
    desk = await Desk(store, run="r-50", grant="g-50").ready()
    told: list[Any] = [await desk.effect(f"o-{number}") for number in range(5)]
    told += [await desk.prepare(wanted=undoable("o-5")), await desk.commit("o-5"), await desk.perform("o-6")]
    told += [await desk.undo(), await desk.cancel(), await desk.undo("o-6"), await desk.undo("o-9")]
    told += [await desk.undo(f"o-{number}") for number in (0, 1, 1, 2, 3)]
    told += [
        await desk.claim("o-1"),
        await desk.claim("o-3"),
        await desk.claim("o-3"),
        await desk.renew("o-3"),
    ]
    told += [
        await desk.claim("o-3", lease="l-2"),
        await desk.renew("o-3", lease="l-2"),
        await desk.claim("o-9"),
    ]
    told += [await desk.withdraw("o-3"), await desk.withdraw("o-3"), await desk.undo("o-3")]
    told += [await desk.fail("o-3"), await desk.complete("o-3"), await desk.complete("o-3")]
    told += [await desk.withdraw("o-3"), await desk.withdraw("o-4"), await desk.withdraw("o-6")]
    told += [await desk.withdraw("o-9"), await desk.claim("o-2"), await desk.fail("o-2")]
    told += [await store.open_duties(DutyKind.UNDO, 10), await desk.undo("o-2")]
    await asyncio.sleep(0.002)
    told += [
        await desk.claim("o-2"),
        await desk.fail("o-2"),
        await desk.fail("o-2"),
        await desk.complete("o-2"),
    ]
    told += [await desk.undo("o-5"), await desk.settle("o-5", ActionState.FAILED), await desk.claim("o-5")]
    told += [await desk.claim("o-1"), await desk.complete("o-1"), await store.open_duties(DutyKind.UNDO, 10)]
    return told


async def calling_off(store: Store) -> list[Any]:
    """Call off what was only accepted, once a run above is cancelled."""
    parent = await Desk(store, run="r-60", grant="g-60").ready()
    desk = await Desk(store, run="r-61", parents=("r-60",), grant="g-61").ready()
    kind, told = DutyKind.CALL_OFF, list[Any]()
    for op in ("o-1", "o-2", "o-3", "o-4", "o-5"):
        told += [await desk.perform(op), await desk.settle(op, ActionState.UNKNOWN, handle="job-1")]
    told += [await desk.settle("o-4", ActionState.FAILED), await desk.claim("o-1", kind)]
    told += [await parent.cancel(), await desk.claim("o-1", kind), await desk.complete("o-1", kind)]
    told += [await desk.claim("o-2", kind), await desk.complete("o-2", kind, outcome="REFUSED")]
    told += [await desk.claim("o-3", kind), await desk.fail("o-3", kind), await store.open_duties(kind, 10)]
    await asyncio.sleep(0.002)
    told += [await desk.claim("o-3", kind, "l-2"), await desk.fail("o-3", kind, "l-2", final=True)]
    at_work = await Desk(store, run="r-62", grant="g-62").ready()
    told += [await at_work.perform(), await at_work.settle(handle="job-1")]
    return [*told, await store.open_duties(kind, 10)]


async def finding_out(store: Store) -> list[Any]:
    """Ask what became of actions that nobody settled, and resolve what cannot be asked."""
    desk = await Desk(store, run="r-70", grant="g-70").ready()
    kind, told = DutyKind.ASK, list[Any]()
    for number in range(1, 4):
        told.append(await desk.perform(use_ms=1, wanted=undoable(f"o-{number}")))
    told += [await desk.perform("o-4"), await desk.resolve("o-4"), await desk.resolve("o-9")]
    told += [await desk.prepare("o-5"), await desk.resolve("o-5"), await desk.perform(wanted=undoable("o-6"))]
    await asyncio.sleep(0.003)
    told += [await store.open_duties(kind, 1), await store.open_duties(kind, 10)]
    told += [await desk.claim("o-6", kind), await desk.claim("o-1", kind)]
    told += [await desk.complete("o-1", kind, outcome="SUCCEEDED"), await desk.resolve("o-1")]
    told += [await desk.resolve("o-1", ActionState.FAILED), await desk.claim("o-2", kind)]
    told += [
        await desk.resolve("o-2", ActionState.FAILED),
        await desk.complete("o-2", kind, outcome="FAILED"),
    ]
    told += [await desk.claim("o-3", kind), await desk.fail("o-3", kind, final=True)]
    return [*told, await store.open_duties(kind, 10)]


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
