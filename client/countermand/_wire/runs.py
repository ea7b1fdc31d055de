"""Runs, grants and their budgets."""

from collections.abc import Iterable

from countermand._ids import new_id
from countermand._models.budgets import Budgets, BudgetStanding, budgets_of
from countermand._models.runs import ChildRun, End, Grant, Run
from countermand._scope import Scope, scopes_of
from countermand._span import duration
from countermand._wire.words import every, number, time, word
from countermand._words import Exhaustion, Reversibility, RunState, StopReason
from countermand.v1 import grant_service_pb2 as grants


def run(message: grants.Run) -> Run:
    """Read a run."""
    return Run(
        run_id=message.run_id,
        parent_run_id=message.parent_run_id,
        ancestor_run_ids=tuple(message.ancestor_run_ids),
        subject=message.subject,
        agent=message.agent,
        tenant=message.tenant,
        labels=dict(message.labels),
        state=word(RunState, message.state),
        open_time=time(message, "open_time"),
        deadline_time=time(message, "deadline_time"),
        end=_end(message.end) if message.HasField("end") else None,
        action_count=message.action_count,
        refusal_count=message.refusal_count,
        store_epoch=message.store_epoch,
        budgets=_standings(message.budgets),
    )


def _end(message: grants.End) -> End:
    why = word(StopReason, message.reason)
    who = (message.actor, message.note, message.tag)
    return End(why, *who, time(message, "time"), message.seq, message.run_id)


def grant(message: grants.Grant) -> Grant:
    """Read a grant."""
    return Grant(
        grant_id=message.grant_id,
        run_id=message.run_id,
        audience=message.audience,
        scopes=every(_scope, message.scopes),
        issue_time=time(message, "issue_time"),
        expire_time=time(message, "expire_time"),
        chain=tuple(message.chain_grant_ids),
        sealed=message.sealed,
        budgets=_standings(message.budgets),
    )


def _standings(messages: Iterable[grants.BudgetStanding]) -> dict[str, BudgetStanding]:
    return {
        one.budget.name: BudgetStanding(
            limit=one.budget.limit,
            on_exhausted=word(Exhaustion, one.budget.on_exhausted),
            taken=one.taken,
            reserved=one.reserved,
            remaining=one.remaining,
        )
        for one in messages
    }


def _scope(message: grants.Scope) -> Scope:
    ceiling = word(Reversibility, message.ceiling)
    approval_from = word(Reversibility, message.approval_from)
    return Scope(message.action, message.resource or "*", message.max_uses, ceiling, approval_from)


def _scope_message(scope: Scope) -> grants.Scope:
    """Write a scope."""
    return grants.Scope(
        action=scope.action,
        resource=scope.resource,
        max_uses=scope.max_uses,
        ceiling=number(scope.ceiling),
        approval_from=number(scope.approval_from),
    )


def scope_messages(scopes: Iterable[Scope | str]) -> list[grants.Scope]:
    """Write scopes, some of which may be texts."""
    return [_scope_message(scope) for scope in scopes_of(scopes)]


def budget_messages(budgets: Budgets | None) -> list[grants.Budget]:
    """Write budgets, in the order they were given."""
    return [
        grants.Budget(name=name, limit=told.limit, on_exhausted=number(Exhaustion(told.on_exhausted)))
        for name, told in budgets_of(budgets).items()
    ]


def child_message(child: ChildRun | None) -> grants.ChildRun | None:
    """Write a run to open for a delegated grant. Its id is chosen here if nobody has."""
    if child is None:
        return None
    return grants.ChildRun(
        run_id=new_id("r") if child.run_id is None else child.run_id,
        agent=child.agent,
        labels=child.labels or {},
        ttl=duration(child.ttl),
        budgets=budget_messages(child.budgets),
    )
