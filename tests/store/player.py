"""A player speaks the verbs with defaults, so that a test shows only what it is about."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState, Intent
from grant_service.core.budget import Costs
from grant_service.core.duty import Duty, DutyKind, which
from grant_service.core.errors import ErrorReason, Refusal, explain
from grant_service.core.fence import selector_of
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.journal import Entry
from grant_service.core.run import Run, StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.records import duty_from
from tests.store.rigs import Rig

T = TypeVar("T")

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
UNDO, CALL_OFF, ASK = DutyKind
ALL = (Scope("*"),)


def digest(arguments: str = "") -> str:
    """The digest of some arguments."""
    return sha256(arguments.encode()).hexdigest()


def intent(
    op: str = "op",
    action: str = "email.send",
    resource: str = "mailto:team@example.com",
    arguments: str = "",
    reversibility: Reversibility = Reversibility.IRREVERSIBLE,
    compensation: str = "",
    costs: Costs = (),
    summary: str = "",
    compensation_args: str = "",
    probe: str = "",
) -> Intent:
    """What a tool wants to do."""
    how = (digest(arguments), reversibility, compensation, costs, summary, compensation_args, probe)
    return Intent(op, action, resource, *how)


def undoable(op: str = "op", compensation: str = "email.recall", **more: Any) -> Intent:
    """An effect with a compensation."""
    return intent(op, reversibility=Reversibility.COMPENSABLE, compensation=compensation, **more)


def done(answer: T | Refusal) -> T:
    """The answer, which must not be a refusal."""
    assert not isinstance(answer, Refusal), explain(answer)
    return answer


def refused(answer: object, reason: ErrorReason) -> dict[str, str]:
    """The details of a refusal, which must have this reason and all its sentence needs."""
    assert isinstance(answer, Refusal), answer
    assert answer.reason is reason, explain(answer)
    plain = {name: value.replace("?", "_") for name, value in answer.details.items()}
    assert "?" not in explain(replace(answer, details=plain)), "the sentence has a gap"
    assert all(answer.details.values()), "empty details are left out"
    return dict(answer.details)


class Player:
    """Plays issuer, tool and operator on one rig."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.store = rig, rig.store

    async def open(self, run: str = "run", parent: str = "", ttl_ms: int = DAY, **more: object) -> Run:
        """Open a run."""
        return done(await self.try_open(run, parent, ttl_ms, **more)).run

    async def try_open(
        self, run: str = "run", parent: str = "", ttl_ms: int = DAY, **more: object
    ) -> verbs.Opened | Refusal:
        """Ask to open a run."""
        command = verbs.Open(run, ttl_ms, keep_ms=DAY, parent=parent, **more)  # type: ignore[arg-type]
        return await self.store.open(command)

    async def issue(
        self,
        run: str = "run",
        scopes: tuple[Scope, ...] = ALL,
        ttl_ms: int = HOUR,
        grant: str = "grant",
        audience: str = "tool",
        **more: object,
    ) -> GrantRef:
        """Issue a grant and point to it, as its token would."""
        return ref(done(await self.try_issue(run, scopes, ttl_ms, grant, audience, **more)))

    async def try_issue(
        self,
        run: str = "run",
        scopes: tuple[Scope, ...] = ALL,
        ttl_ms: int = HOUR,
        grant: str = "grant",
        audience: str = "tool",
        **more: object,
    ) -> verbs.Issued | Refusal:
        """Ask for a grant."""
        command = verbs.Issue(grant, run, audience, scopes, ttl_ms, **more)  # type: ignore[arg-type]
        return await self.store.issue(command)

    async def delegate(
        self,
        above: GrantRef,
        grant: str = "child",
        scopes: tuple[Scope, ...] = ALL,
        ttl_ms: int = HOUR,
        **more: object,
    ) -> GrantRef:
        """Hand on part of a grant and point to it, as its token would."""
        return ref(done(await self.try_delegate(above, grant, scopes, ttl_ms, **more)))

    async def try_delegate(
        self,
        above: GrantRef,
        grant: str = "child",
        scopes: tuple[Scope, ...] = ALL,
        ttl_ms: int = HOUR,
        peer: str = "tool",
        max_delegations: int = 1000,
        child: str | verbs.Open | None = None,
        **more: object,
    ) -> verbs.Delegated | Refusal:
        """Ask to hand on part of a grant, into a run of its own if `child` names or describes one."""
        run = verbs.Open(child, 0, DAY) if isinstance(child, str) else child
        told = (above, peer, grant, scopes, ttl_ms, max_delegations)
        return await self.store.delegate(verbs.Delegate(*told, child=run, **more))  # type: ignore[arg-type]

    async def extend(self, grant: GrantRef, ttl_ms: int = HOUR, peer: str = "") -> verbs.Extended | Refusal:
        """Ask for a grant to last longer."""
        return await self.store.extend(verbs.Extend(grant, peer, ttl_ms))

    async def ready(self, run: str = "run", **more: object) -> GrantRef:
        """Open a run and issue a grant for it."""
        await self.open(run)
        return await self.issue(run, **more)  # type: ignore[arg-type]

    async def prepare(
        self,
        grant: GrantRef,
        wanted: Intent | str = "op",
        ttl_ms: int = 60 * SECOND,
        peer: str = "tool",
        max_actions: int = 1000,
        wait_ms: int = HOUR,
        undo_ms: int = HOUR,
    ) -> verbs.Prepared | Refusal:
        """Ask to prepare an action."""
        wanted = intent(wanted) if isinstance(wanted, str) else wanted
        told = (grant, peer, wanted, ttl_ms, max_actions, wait_ms, undo_ms)
        return await self.store.prepare(verbs.Prepare(*told))

    async def commit(
        self,
        grant: GrantRef,
        op: str = "op",
        use_ms: int = 5 * SECOND,
        peer: str = "tool",
        arguments: str = "",
    ) -> verbs.Permitted | Refusal:
        """Ask whether a prepared action may happen."""
        return await self.store.commit(verbs.Commit(grant, peer, op, digest(arguments), use_ms))

    async def perform(
        self,
        grant: GrantRef,
        wanted: Intent | str = "op",
        use_ms: int = 5 * SECOND,
        peer: str = "tool",
        max_actions: int = 1000,
        wait_ms: int = HOUR,
        undo_ms: int = HOUR,
    ) -> verbs.Permitted | Refusal:
        """Ask to prepare and commit at once."""
        wanted = intent(wanted) if isinstance(wanted, str) else wanted
        told = (grant, peer, wanted, use_ms, max_actions, wait_ms, undo_ms)
        return await self.store.perform(verbs.Perform(*told))

    async def permit(self, grant: GrantRef, op: str = "op", **more: object) -> verbs.Permitted:
        """Prepare and commit, both of which must work."""
        done(await self.prepare(grant, op))
        return done(await self.commit(grant, op, **more))  # type: ignore[arg-type]

    async def settle(
        self,
        grant: GrantRef,
        op: str = "op",
        outcome: ActionState = ActionState.SUCCEEDED,
        receipt: str = "",
        note: str = "",
        peer: str = "tool",
        result_args: str = "",
        handle: str = "",
        canceller: str = "",
        why_not: str = "",
    ) -> verbs.Settled | Refusal:
        """Say what became of an action."""
        told = (grant, peer, op, outcome, receipt, note, result_args, handle, canceller, why_not)
        return await self.store.settle(verbs.Settle(*told))

    async def abandon(
        self, grant: GrantRef, op: str = "op", note: str = "", peer: str = "tool"
    ) -> verbs.Abandoned | Refusal:
        """Give up an action."""
        return await self.store.abandon(verbs.Abandon(grant, peer, op, note))

    async def cancel(
        self,
        run: str = "run",
        reason: StopReason = StopReason.USER_STOP,
        actor: str = "u-7",
        note: str = "",
        tag: str = "",
    ) -> verbs.Cancelled:
        """Stop a run."""
        return await self.store.cancel(verbs.Cancel(run, reason, actor, note, tag))

    async def finish(self, run: str = "run", actor: str = "", note: str = "") -> verbs.Finished | Refusal:
        """End a run that did its work."""
        return await self.store.finish(verbs.Finish(run, actor, note))

    async def spend(
        self,
        grant: GrantRef,
        amount: int,
        op: str = "spent",
        budget: str = "usd",
        incurred: bool = False,
        peer: str = "tool",
        max_spendings: int = 1000,
    ) -> verbs.Spent | Refusal:
        """Take an amount from budgets."""
        command = verbs.Spend(grant, peer, op, budget, amount, max_spendings, incurred)
        return await self.store.spend(command)

    async def revoke(
        self,
        *marks: str,
        action: str = "",
        fence: str = "fence",
        reason: StopReason = StopReason.INCIDENT,
        kill_ms: int = HOUR,
        actor: str = "op-1",
        note: str = "",
    ) -> verbs.Fenced | Refusal:
        """Kill what was issued before to everything with these marks."""
        chosen = selector_of(marks, action)
        return await self.store.revoke(verbs.Revoke(fence, chosen, reason, kill_ms, actor, note))

    async def freeze(
        self,
        *marks: str,
        action: str = "",
        fence: str = "fence",
        ttl_ms: int = 0,
        reason: StopReason = StopReason.INCIDENT,
        kill_ms: int = HOUR,
        actor: str = "op-1",
        note: str = "",
    ) -> verbs.Fenced | Refusal:
        """Kill what was issued before to everything with these marks, and block what comes later."""
        chosen = selector_of(marks, action)
        return await self.store.freeze(verbs.Freeze(fence, chosen, reason, kill_ms, actor, note, ttl_ms))

    async def lift(self, fence: str = "fence", actor: str = "op-2", note: str = "") -> verbs.Lifted | Refusal:
        """End a freeze."""
        return await self.store.lift(verbs.Lift(fence, actor, note))

    async def approve(
        self,
        op: str = "op",
        run: str = "run",
        arguments: str = "",
        ttl_ms: int = 60 * SECOND,
        actor: str = "u-7",
        note: str = "",
        amended: str | None = None,
    ) -> verbs.Approved | Refusal:
        """Agree to an action with these arguments, or to it with `amended` ones instead."""
        amendment = ("", "") if amended is None else (json.dumps(amended), digest(amended))
        told = (run, op, digest(arguments), ttl_ms, actor, note)
        return await self.store.approve(verbs.Approve(*told, *amendment))

    async def deny(
        self, op: str = "op", run: str = "run", actor: str = "u-7", note: str = ""
    ) -> verbs.Denied | Refusal:
        """Refuse an action, or take back an approval."""
        return await self.store.deny(verbs.Deny(run, op, actor, note))

    async def resolve(
        self,
        op: str = "op",
        outcome: ActionState = ActionState.SUCCEEDED,
        run: str = "run",
        actor: str = "u-7",
        evidence: str = "the vendor's console shows it",
    ) -> verbs.Resolved | Refusal:
        """Say what became of an action nobody settled, and how one knows."""
        return await self.store.resolve(verbs.Resolve(run, op, outcome, actor, evidence))

    async def undo(
        self, op: str = "op", run: str = "run", actor: str = "u-7", note: str = ""
    ) -> verbs.UndoAsked | Refusal:
        """Ask for an effect to be undone."""
        return await self.store.undo(verbs.Undo(run, op, actor, note))

    async def withdraw(
        self, op: str = "op", run: str = "run", actor: str = "u-7", note: str = ""
    ) -> verbs.Withdrawn | Refusal:
        """Take back the authority to undo an effect."""
        return await self.store.withdraw(verbs.Withdraw(run, op, actor, note))

    async def claim(
        self,
        op: str = "op",
        kind: DutyKind = UNDO,
        lease: str = "lease",
        run: str = "run",
        worker: str = "worker",
        lease_ms: int = 30 * SECOND,
        max_attempts: int = 3,
        job: int = 0,
    ) -> verbs.Claimed | Refusal:
        """Take on a duty."""
        told = (run, op, kind, worker, lease, lease_ms, max_attempts)
        return await self.store.claim(verbs.Claim(*told, job=job))

    async def renew(
        self,
        op: str = "op",
        kind: DutyKind = UNDO,
        lease: str = "lease",
        run: str = "run",
        lease_ms: int = 30 * SECOND,
        job: int = 0,
    ) -> verbs.Claimed | Refusal:
        """Keep a duty for longer."""
        return await self.store.renew(verbs.Renew(run, op, kind, lease, lease_ms, job=job))

    async def complete(
        self,
        op: str = "op",
        kind: DutyKind = UNDO,
        lease: str = "lease",
        run: str = "run",
        outcome: str = "",
        receipt: str = "",
        note: str = "",
        job: int = 0,
    ) -> verbs.Completed | Refusal:
        """Say that a duty is carried out."""
        outcome = outcome or ("SUCCEEDED" if kind is ASK else "DONE")
        told = (run, op, kind, lease, outcome, receipt, note)
        return await self.store.complete(verbs.Complete(*told, job=job))

    async def fail(
        self,
        op: str = "op",
        kind: DutyKind = UNDO,
        lease: str = "lease",
        run: str = "run",
        retry_ms: int = 2 * SECOND,
        max_attempts: int = 3,
        note: str = "",
        final: bool = False,
        job: int = 0,
    ) -> verbs.Failed | Refusal:
        """Say that an attempt did not work."""
        told = (run, op, kind, lease, retry_ms, max_attempts, note, final)
        return await self.store.fail(verbs.Fail(*told, job=job))

    async def effect(self, grant: GrantRef, wanted: Intent | str = "op", **more: Any) -> verbs.Permitted:
        """Let something happen that can be undone; `more` is what its tool says then."""
        wanted = undoable(wanted) if isinstance(wanted, str) else wanted
        permit = done(await self.perform(grant, wanted))
        done(await self.settle(grant, wanted.op_id, **more))
        return permit

    async def open_duties(self, kind: DutyKind = UNDO, limit: int = 1000) -> list[Duty]:
        """Read open duties of a kind."""
        return await self.store.open_duties(kind, limit)

    async def read_duty(
        self, op: str = "op", kind: DutyKind = UNDO, run: str = "run", job: int = 0
    ) -> Duty | None:
        """Read a duty from the whole state, open or not."""
        fields = (await self.rig.dump()).duties.get((run, op, which(kind, job)))
        return duty_from(fields) if fields else None

    async def budgets(self, *owners: str) -> dict[str, tuple[int, int, int]]:
        """Read what was taken, is held and is left of each budget of these runs and grants, `owner.name`."""
        found = [*await self.store.runs(owners), *await self.store.grants(owners)]
        return {
            f"{_name(owner)}.{one.name}": (one.taken, one.held(self.rig.time), one.left(self.rig.time))
            for owner in found
            if owner
            for one in owner.budgets
        }

    async def journal(self, run: str = "run") -> list[Entry]:
        """Read a run's whole journal."""
        return await self.store.journal(run, 0, 100_000)

    async def kinds(self, run: str = "run") -> list[str]:
        """Read what happened in a run, in one word each."""
        return [entry.kind.value for entry in await self.journal(run)]

    async def read(self, run: str = "run") -> Run:
        """Read a run that is there."""
        (found,) = await self.store.runs([run])
        assert found
        return found

    async def read_grant(self, grant: str = "grant") -> Grant:
        """Read a grant that is there."""
        (found,) = await self.store.grants([grant])
        assert found
        return found

    async def read_action(self, op: str = "op", run: str = "run") -> Action:
        """Read an action that is there."""
        (found,) = await self.store.actions([(run, op)])
        assert found
        return found


def ref(issued: verbs.Issued | verbs.Delegated | verbs.Extended) -> GrantRef:
    """Point to a grant as its token would."""
    grant = issued.grant
    path = (grant.grant_id, grant.run_id, grant.ancestors)
    return GrantRef(*path, grant.audience, issued.subject, grant.chain)


def _name(owner: Run | Grant) -> str:
    return owner.run_id if isinstance(owner, Run) else owner.grant_id
