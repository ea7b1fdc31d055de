"""Parts of requests that several of them have: scopes, budgets, intents, selectors. Each is checked here."""

from collections.abc import Mapping, Sequence

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from grant_service.core import budget, scope
from grant_service.core.action import Intent
from grant_service.core.budget import Budget, Exhaustion
from grant_service.core.errors import granted
from grant_service.core.fence import Selector, grant_mark, marks_of, selector_of
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.tools import Tool, Tools
from grant_service.rpc import limits
from grant_service.rpc.limits import invalid

_EXHAUSTIONS = {
    grant_pb.EXHAUSTION_UNSPECIFIED: Exhaustion.CANCEL,
    grant_pb.EXHAUSTION_CANCEL: Exhaustion.CANCEL,
    grant_pb.EXHAUSTION_REFUSE: Exhaustion.REFUSE,
}


def stop_reason(number: int) -> StopReason:
    """Take why something is stopped; it must be said."""
    if number == errors_pb2.STOP_REASON_UNSPECIFIED:
        raise invalid("reason", "must be given, such as USER_STOP or INCIDENT")
    try:
        name = errors_pb2.StopReason.Name(number)  # type: ignore[arg-type]
    except ValueError:
        raise invalid("reason", "must be a reason this sidecar knows") from None
    return StopReason(name.removeprefix("STOP_REASON_"))


def reversibility(field: str, number: int) -> Reversibility:
    """Take a class of effects; one that is not declared is the worst."""
    if number == action_pb.REVERSIBILITY_UNSPECIFIED:
        return Reversibility.IRREVERSIBLE
    try:
        name = action_pb.Reversibility.Name(number)  # type: ignore[arg-type]
    except ValueError:
        raise invalid(field, "must be a class this sidecar knows") from None
    return Reversibility(name.removeprefix("REVERSIBILITY_"))


def _scope(index: int, told: grant_pb.Scope) -> Scope:
    field = f"scopes[{index}]"
    resource = told.resource or "*"
    for name, fault in (
        ("action", scope.action_pattern_fault(told.action)),
        ("resource", scope.resource_pattern_fault(resource)),
    ):
        if fault:
            raise invalid(f"{field}.{name}", fault)
    demands = told.approval_from != action_pb.REVERSIBILITY_UNSPECIFIED
    return Scope(
        action=told.action,
        resource=resource,
        max_uses=told.max_uses,
        ceiling=reversibility(f"{field}.ceiling", told.ceiling),
        approval_from=reversibility(f"{field}.approval_from", told.approval_from) if demands else None,
    )


def scopes(told: Sequence[grant_pb.Scope]) -> tuple[Scope, ...]:
    """Take what a grant is to allow."""
    if not 1 <= len(told) <= scope.MAX_SCOPES:
        raise invalid("scopes", f"must be 1 to {scope.MAX_SCOPES} scopes")
    return tuple(_scope(index, one) for index, one in enumerate(told))


def budgets(field: str, told: Sequence[grant_pb.Budget]) -> tuple[Budget, ...]:
    """Take budgets, no two of one name."""
    if len(told) > budget.MAX_BUDGETS:
        raise invalid(field, f"must be at most {budget.MAX_BUDGETS} budgets")
    if len({one.name for one in told}) != len(told):
        raise invalid(field, "must each have a name of its own")
    return tuple(_budget(f"{field}[{index}]", one) for index, one in enumerate(told))


def _budget(field: str, told: grant_pb.Budget) -> Budget:
    if fault := budget.name_fault(told.name):
        raise invalid(f"{field}.name", fault)
    if told.on_exhausted not in _EXHAUSTIONS:
        raise invalid(f"{field}.on_exhausted", "must be CANCEL or REFUSE")
    limit = limits.amount(f"{field}.limit", told.limit, least=0)
    return Budget(told.name, limit, _EXHAUSTIONS[told.on_exhausted])


def selector(told: journal_pb.Selector) -> Selector:
    """Take what a fence is to stand over: at least one selector, or all."""
    run_id = limits.optional_identifier("selector.run_id", told.run_id)
    grant_id = limits.optional_identifier("selector.grant_id", told.grant_id)
    marks = marks_of(
        run_id,
        subject=limits.text("selector.subject", told.subject),
        agent=limits.text("selector.agent", told.agent),
        tenant=limits.text("selector.tenant", told.tenant),
        labels=limits.labels("selector.labels", told.labels),
    )
    marks += [grant_mark(grant_id)] if grant_id else []
    if told.action and (fault := scope.action_pattern_fault(told.action)):
        raise invalid("selector.action", fault)
    if bool(marks or told.action) == told.all:
        raise invalid("selector", "must name something, or all, and not both")
    return selector_of(marks, told.action)


def intent(told: action_pb.Intent, tools: Tools) -> Intent:
    """Take what a tool intends, with what is registered about it."""
    for name, fault in (
        ("action", scope.action_fault(told.action)),
        ("resource", scope.resource_fault(told.resource)),
    ):
        if fault:
            raise invalid(f"intent.{name}", fault)
    tool = granted(tools.filled(_tool(told)))
    return Intent(
        op_id=limits.identifier("intent.op_id", told.op_id),
        action=told.action,
        resource=told.resource,
        digest=limits.digest("intent.digest", told.digest),
        reversibility=tool.reversibility or Reversibility.IRREVERSIBLE,
        compensation=tool.compensation,
        compensation_args=_args(told.compensation_args, tool.compensation),
        probe=tool.probe,
        costs=_costs(told.costs),
        summary=limits.text("intent.summary", told.summary, limits.MAX_NOTE),
    )


def _tool(told: action_pb.Intent) -> Tool:
    """Take what a call says of its tool."""
    declared = told.reversibility != action_pb.REVERSIBILITY_UNSPECIFIED
    return Tool(
        action=told.action,
        reversibility=reversibility("intent.reversibility", told.reversibility) if declared else None,
        compensation=limits.optional_identifier("intent.compensation", told.compensation),
        probe=limits.optional_identifier("intent.probe", told.probe),
    )


def _args(args: str, compensation: str) -> str:
    if not args:
        return ""
    if not compensation:
        raise invalid("intent.compensation_args", "must come with a compensation")
    return limits.json_object("intent.compensation_args", args)


def _costs(told: Mapping[str, int]) -> budget.Costs:
    if len(told) > budget.MAX_BUDGETS:
        raise invalid("intent.costs", f"must be at most {budget.MAX_BUDGETS} costs")
    for name in told:
        if fault := budget.name_fault(name):
            raise invalid("intent.costs", f"names a budget that {fault}")
    return budget.costs_of(
        {name: limits.amount(f"intent.costs.{name}", amount, least=0) for name, amount in told.items()}
    )
