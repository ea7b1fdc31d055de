# Derived from client/countermand/_async/delegation.py by scripts/unasync.py. Do not edit.
"""What else code asks of the grant it acts under: to hand part of it on, and to take from a budget."""

from collections.abc import Iterable, Mapping

from countermand._models.budgets import Budgets
from countermand._scope import Scope
from countermand._span import Span
from countermand._sync.grant import CurrentGrant, current_grant


def delegate(
    *,
    scopes: Iterable[Scope | str],
    ttl: Span | None = None,
    audience: str = "",
    budgets: Budgets | None = None,
    sealed: bool = False,
) -> CurrentGrant:
    """Hand on part of the current grant: what this answers is current in its `with` block, in the same run.

    It is delegated when an action first needs it, over the tool's socket. It is never wider, longer-lived or
    richer than the current grant: asking for more is refused. What is used under it is used of that one too.
    Its `token()` can be handed to another process, which acts in `with client.use_token(token)`.
    """
    return current_grant().delegate(scopes=scopes, ttl=ttl, audience=audience, budgets=budgets, sealed=sealed)


def delegate_run(
    *,
    agent: str,
    scopes: Iterable[Scope | str],
    ttl: Span | None = None,
    labels: Mapping[str, str] | None = None,
    budgets: Budgets | None = None,
    run_ttl: Span | None = None,
    run_id: str | None = None,
    audience: str = "",
    sealed: bool = False,
) -> CurrentGrant:
    """Hand on part of the current grant to a sub-agent, in a run of its own below: `run_id` is its name.

    The run is opened in the step that delegates, with the same subject and tenant. It can be cancelled alone,
    and ends with the run above it or after `run_ttl`; leaving the block does not end it. `budgets` are the
    run's; `ttl` is the grant's.
    """
    return current_grant().delegate_run(
        agent=agent,
        scopes=scopes,
        ttl=ttl,
        labels=labels,
        budgets=budgets,
        run_ttl=run_ttl,
        run_id=run_id,
        audience=audience,
        sealed=sealed,
    )


def spend(
    budget: str,
    amount: int,
    *,
    incurred: bool = False,
    op_id: str | None = None,
    timeout: float | None = None,
) -> Mapping[str, int]:
    """Take an amount from a budget for what is no action, and answer what is left in each that applies.

    What was `incurred` already, such as the tokens of an answer, is taken whatever is left; otherwise asking
    for more than is left is refused. The same `op_id` takes it once.
    """
    grant = current_grant()
    token = grant.to_act()
    spent = grant.tool.spend(token, budget, amount, incurred=incurred, op_id=op_id, timeout=timeout)
    return spent.remaining
