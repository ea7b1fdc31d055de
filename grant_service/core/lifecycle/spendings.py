"""Budgets: holding, taking and giving back, and what happens when one runs out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from grant_service.core import verbs
from grant_service.core.action import Action, Spending
from grant_service.core.budget import Budget, Exhaustion, charges
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.grant import Grant
from grant_service.core.journal import Kind
from grant_service.core.lifecycle.questions import Authority, Call, authority, budgets_of, fresh, kept, left
from grant_service.core.lifecycle.runs import end_run
from grant_service.core.run import Run, RunState, StopReason
from grant_service.core.store import State

Charges = dict[str, int]


@dataclass(frozen=True, slots=True)
class Short:
    """A budget that has less left than is asked of it."""

    owner: Run | Grant
    budget: Budget
    asked: int

    @property
    def ran_out(self) -> bool:
        """Say whether giving back what is held could not help: then it has run out."""
        return self.budget.taken + self.asked > self.budget.limit


def spend(state: State, command: verbs.Spend) -> verbs.Spent | Refusal:
    """Take an amount for what is no action."""
    asked = {"budget": command.budget, "amount": str(command.amount)}
    asked["incurred"] = "1" if command.incurred else ""
    call = Call("spend", command.grant, command.peer, command.op_id, asked)
    answer = _spend(state, call, command)
    return kept(state, call, answer) if isinstance(answer, Refusal) else answer


def _spend(state: State, call: Call, command: verbs.Spend) -> verbs.Spent | Refusal:
    by = authority(state, call, "")
    if isinstance(by, Refusal):
        return by
    existing = state.spending(by.run.run_id, command.op_id)
    if existing:
        asked = (by.grant.grant_id, command.budget, command.amount, command.incurred)
        if asked != (existing.grant_id, existing.budget, existing.amount, existing.incurred):
            return Refusal(ErrorReason.OP_ID_CONFLICT)
        return verbs.Spent(command.op_id, existing.seq, True, left(state, by))
    if state.now >= by.grant.expire_time:
        return Refusal(ErrorReason.GRANT_EXPIRED)
    if by.run.spendings >= command.max_spendings:
        return Refusal(ErrorReason.RUN_FULL, {"limit": str(command.max_spendings)})
    wanted = {command.budget: command.amount}
    short = list(short_of(state, by, wanted))
    if short and not command.incurred:
        return run_out(state, short[0])
    return _write_spent(state, command, by, wanted, short)


def _write_spent(
    state: State, command: verbs.Spend, by: Authority, wanted: Charges, short: list[Short]
) -> verbs.Spent:
    run_id = by.run.run_id
    data = {"op": command.op_id, "grant": by.grant.grant_id, "budget": command.budget}
    data |= {"amount": str(command.amount), "incurred": "1" if command.incurred else ""}
    seq = state.append(run_id, Kind.SPENT, data)
    told = (command.budget, command.amount, command.incurred)
    state.put(Spending(run_id, by.grant.grant_id, command.op_id, *told, seq))
    take(state, by, wanted)
    run = state.run(run_id)
    if run:
        state.put(replace(run, spendings=run.spendings + 1))
    for one in short:
        run_out(state, one)
    return verbs.Spent(command.op_id, seq, False, left(state, by))


def short_of(state: State, by: Authority, wanted: Charges) -> Iterable[Short]:
    """Find the budgets that have too little left, the nearest first: grants before runs, from below up.

    Whoever was handed little must not be able to end what is above by asking for much.
    """
    for owner, budget in budgets_of(reversed(by.owners)):
        asked = wanted.get(budget.name, 0)
        if asked > budget.left(state.now):
            yield Short(owner, budget, asked)


def run_out(state: State, short: Short) -> Refusal:
    """Refuse what is asked; if the budget has run out and says so, end what set it."""
    budget, kind = short.budget, "run" if isinstance(short.owner, Run) else "grant"
    name = short.owner.run_id if isinstance(short.owner, Run) else short.owner.grant_id
    details = {"budget": budget.name, "owner": f"{kind} {name}", "limit": str(budget.limit)}
    details |= {"taken": str(budget.taken), "reserved": str(budget.held(state.now))}
    details |= {"remaining": str(budget.left(state.now)), "asked": str(short.asked)}
    if short.ran_out and budget.on_exhausted is Exhaustion.CANCEL:
        _end(state, short.owner, budget)
        details[f"ended_{kind}"] = name
    return Refusal(ErrorReason.BUDGET_EXHAUSTED, details)


def _end(state: State, owner: Run | Grant, budget: Budget) -> None:
    if isinstance(owner, Run):
        run = state.run(owner.run_id)
        if run and run.state is RunState.ACTIVE:
            note = f"budget {budget.name} of {budget.limit} ran out"
            end_run(state, run, StopReason.BUDGET, "budget", note, budget.name)
        return
    grant = state.grant(owner.grant_id)
    if grant and not grant.end_seq:
        data = {"grant": grant.grant_id, "budget": budget.name}
        seq = state.append(grant.run_id, Kind.EXHAUSTED, data)
        state.put(replace(grant, end_time=state.now, end_seq=seq, end_budget=budget.name))


def hold(state: State, by: Authority, action: Action) -> None:
    """Hold what a prepared action will take, until it expires."""
    _each(
        state,
        by,
        charges(action.intent.costs),
        lambda budget, amount: budget.reserve(amount, action.expire_time, state.now),
    )


def let_go(state: State, by: Authority, action: Action) -> None:
    """Give back what was held for an action."""
    _each(
        state,
        by,
        charges(action.intent.costs),
        lambda budget, amount: budget.give_back(amount, action.expire_time, state.now),
    )


def take(state: State, by: Authority, wanted: Charges) -> None:
    """Take amounts for good."""
    _each(state, by, wanted, lambda budget, amount: budget.take(amount))


def _each(state: State, by: Authority, wanted: Charges, change: Callable[[Budget, int], Budget]) -> None:
    """Change every budget that something is asked of."""
    if not by.has_budgets:
        return
    for owner in fresh(state, by):
        changed = tuple(
            change(one, wanted[one.name]) if wanted.get(one.name) else one for one in owner.budgets
        )
        if changed != owner.budgets:
            state.put(replace(owner, budgets=changed))
