"""Records as flat text fields: the one form in which SQLite rows and Redis hashes keep them."""

import json
from collections.abc import Mapping, Sequence

from grant_service.core.action import Action, ActionState, Approval, Intent, Spending
from grant_service.core.budget import Budget, Costs, Exhaustion, costs_text
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.fence import Fence, FenceKind, Selector
from grant_service.core.grant import Grant
from grant_service.core.run import Run, RunState, labels_text
from grant_service.core.scope import Reversibility, Scope, scopes_text

Fields = Mapping[str, str]

_NOBODY_SAID = Approval("", "", 0)


def run_fields(run: Run) -> dict[str, str]:
    """Write a run as fields."""
    return {
        "run": run.run_id,
        "parent": run.parent,
        "ancestors": ",".join(run.ancestors),
        "subject": run.subject,
        "agent": run.agent,
        "tenant": run.tenant,
        "labels": labels_text(run.labels),
        "state": run.state.value,
        "epoch": run.epoch,
        "open_time": str(run.open_time),
        "open_seq": str(run.open_seq),
        "ttl_ms": str(run.ttl_ms),
        "deadline": str(run.deadline),
        "keep_until": str(run.keep_until),
        "end_reason": run.end_reason,
        "end_actor": run.end_actor,
        "end_note": run.end_note,
        "end_tag": run.end_tag,
        "end_time": str(run.end_time),
        "end_seq": str(run.end_seq),
        "end_epoch": run.end_epoch,
        "actions": str(run.actions),
        "refusals": str(run.refusals),
        "marks": "\n".join(run.marks),
        "budgets": _budgets(run.budgets),
        "spendings": str(run.spendings),
        "delegations": str(run.delegations),
    }


def run_from(fields: Fields) -> Run:
    """Read a run back; a field that is missing or strange is an error, never a default."""
    return Run(
        run_id=fields["run"],
        parent=fields["parent"],
        ancestors=path_from(fields["ancestors"]),
        subject=fields["subject"],
        agent=fields["agent"],
        tenant=fields["tenant"],
        labels=json.loads(fields["labels"]) if fields["labels"] else {},
        state=RunState(fields["state"]),
        epoch=fields["epoch"],
        open_time=int(fields["open_time"]),
        open_seq=int(fields["open_seq"]),
        ttl_ms=int(fields["ttl_ms"]),
        deadline=int(fields["deadline"]),
        keep_until=int(fields["keep_until"]),
        end_reason=fields["end_reason"],
        end_actor=fields["end_actor"],
        end_note=fields["end_note"],
        end_tag=fields["end_tag"],
        end_time=int(fields["end_time"]),
        end_seq=int(fields["end_seq"]),
        end_epoch=fields["end_epoch"],
        actions=int(fields["actions"]),
        refusals=int(fields["refusals"]),
        marks=_list_from(fields["marks"], "\n"),
        budgets=_budgets_from(fields["budgets"]),
        spendings=int(fields["spendings"]),
        delegations=int(fields["delegations"]),
    )


def grant_fields(grant: Grant) -> dict[str, str]:
    """Write a grant as fields."""
    return {
        "grant": grant.grant_id,
        "run": grant.run_id,
        "ancestors": ",".join(grant.ancestors),
        "audience": grant.audience,
        "epoch": grant.epoch,
        "scopes": scopes_text(grant.scopes),
        # With the limits beside the counts, so that a commit need not take the scopes apart.
        "used": ",".join(f"{n}/{scope.max_uses}" for n, scope in zip(grant.used, grant.scopes, strict=True)),
        "issue_time": str(grant.issue_time),
        "expire_time": str(grant.expire_time),
        "issue_seq": str(grant.issue_seq),
        "ttl_ms": str(grant.ttl_ms),
        "root_seq": str(grant.root_seq),
        "chain": ",".join(grant.chain),
        "narrows": ",".join(map(str, grant.narrows)),
        "sealed": "1" if grant.sealed else "",
        "budgets": _budgets(grant.budgets),
        "end_time": str(grant.end_time),
        "end_seq": str(grant.end_seq),
        "end_budget": grant.end_budget,
    }


def grant_from(fields: Fields) -> Grant:
    """Read a grant back."""
    return Grant(
        grant_id=fields["grant"],
        run_id=fields["run"],
        ancestors=path_from(fields["ancestors"]),
        audience=fields["audience"],
        epoch=fields["epoch"],
        scopes=scopes_from(fields["scopes"]),
        used=tuple(int(count.partition("/")[0]) for count in fields["used"].split(",")),
        issue_time=int(fields["issue_time"]),
        expire_time=int(fields["expire_time"]),
        issue_seq=int(fields["issue_seq"]),
        ttl_ms=int(fields["ttl_ms"]),
        root_seq=int(fields["root_seq"]),
        chain=path_from(fields["chain"]),
        narrows=tuple(map(int, _list_from(fields["narrows"], ","))),
        sealed=_flag(fields["sealed"]),
        budgets=_budgets_from(fields["budgets"]),
        end_time=int(fields["end_time"]),
        end_seq=int(fields["end_seq"]),
        end_budget=fields["end_budget"],
    )


def action_fields(action: Action) -> dict[str, str]:
    """Write an action as fields."""
    intent, said = action.intent, action.approval or _NOBODY_SAID
    return {
        "run": action.run_id,
        "grant": action.grant_id,
        "op": intent.op_id,
        "action": intent.action,
        "resource": intent.resource,
        "digest": intent.digest,
        "reversibility": intent.reversibility.value,
        "compensation": intent.compensation,
        "compensation_args": intent.compensation_args,
        "probe": intent.probe,
        "costs": costs_text(intent.costs),
        "summary": intent.summary,
        "scope": str(action.scope),
        "state": action.state.value,
        "prepare_time": str(action.prepare_time),
        "prepare_seq": str(action.prepare_seq),
        "expire_time": str(action.expire_time),
        "undo_until": str(action.undo_until),
        "fence": str(action.fence),
        "use_by": str(action.use_by),
        "settle_seq": str(action.settle_seq),
        "result_args": action.result_args,
        "resolved": "1" if action.resolved else "",
        "handles": "\n".join(action.handles),
        "said_actor": said.actor,
        "said_note": said.note,
        "said_seq": str(said.seq),
        "said_until": str(said.until),
        "said_ttl_ms": str(said.ttl_ms),
        "said_amendment": said.amendment,
        "said_digest": said.digest,
    }


def action_from(fields: Fields) -> Action:
    """Read an action back."""
    return Action(
        run_id=fields["run"],
        grant_id=fields["grant"],
        intent=Intent(
            op_id=fields["op"],
            action=fields["action"],
            resource=fields["resource"],
            digest=fields["digest"],
            reversibility=Reversibility(fields["reversibility"]),
            compensation=fields["compensation"],
            compensation_args=fields["compensation_args"],
            probe=fields["probe"],
            costs=_costs_from(fields["costs"]),
            summary=fields["summary"],
        ),
        scope=int(fields["scope"]),
        state=ActionState(fields["state"]),
        prepare_time=int(fields["prepare_time"]),
        prepare_seq=int(fields["prepare_seq"]),
        expire_time=int(fields["expire_time"]),
        undo_until=int(fields["undo_until"]),
        fence=int(fields["fence"]),
        use_by=int(fields["use_by"]),
        settle_seq=int(fields["settle_seq"]),
        result_args=fields["result_args"],
        resolved=_flag(fields["resolved"]),
        handles=_list_from(fields["handles"], "\n"),
        approval=approval_from(fields),
    )


_ANY_INTENT = Intent("", "", "", "", Reversibility.IRREVERSIBLE)
#: The names of an action's fields. Their order belongs to the schema of the SQLite file.
_ACTION = tuple(action_fields(Action("", "", _ANY_INTENT, 0, ActionState.PREPARED, 0, 0, 0)))


def action_values(action: Action) -> list[str]:
    """Write an action as the values of its fields alone: the names would be most of what is written."""
    return list(action_fields(action).values())


def action_from_values(values: Sequence[str]) -> Action:
    """Read it back; another number of values is an error, too."""
    return action_from(dict(zip(_ACTION, values, strict=True)))


def approval_from(fields: Fields) -> Approval | None:
    """Read what a person said about an action, or None if nobody has yet."""
    said = Approval(
        actor=fields["said_actor"],
        note=fields["said_note"],
        seq=int(fields["said_seq"]),
        until=int(fields["said_until"]),
        ttl_ms=int(fields["said_ttl_ms"]),
        amendment=fields["said_amendment"],
        digest=fields["said_digest"],
    )
    return said if said.seq else None


def spending_fields(told: Spending) -> dict[str, str]:
    """Write a spending as fields."""
    return {
        "run": told.run_id,
        "grant": told.grant_id,
        "op": told.op_id,
        "budget": told.budget,
        "amount": str(told.amount),
        "incurred": "1" if told.incurred else "",
        "seq": str(told.seq),
    }


def spending_from(fields: Fields) -> Spending:
    """Read a spending back."""
    return Spending(
        run_id=fields["run"],
        grant_id=fields["grant"],
        op_id=fields["op"],
        budget=fields["budget"],
        amount=int(fields["amount"]),
        incurred=_flag(fields["incurred"]),
        seq=int(fields["seq"]),
    )


def fence_fields(fence: Fence) -> dict[str, str]:
    """Write a fence as fields."""
    return {
        "fence": fence.fence_id,
        "kind": fence.kind.value,
        "marks": "\n".join(fence.selector.marks),
        "action": fence.selector.action,
        "reason": fence.reason,
        "actor": fence.actor,
        "note": fence.note,
        "seq": str(fence.seq),
        "time": str(fence.time),
        "kill_until": str(fence.kill_until),
        "ttl_ms": str(fence.ttl_ms),
        "block_until": str(fence.block_until),
        "lift_actor": fence.lift_actor,
        "lift_note": fence.lift_note,
        "lift_time": str(fence.lift_time),
        "lift_seq": str(fence.lift_seq),
        "standing": "1" if fence.standing else "",
    }


def fence_from(fields: Fields) -> Fence:
    """Read a fence back."""
    return Fence(
        fence_id=fields["fence"],
        kind=FenceKind(fields["kind"]),
        selector=Selector(_list_from(fields["marks"], "\n"), fields["action"]),
        reason=fields["reason"],
        actor=fields["actor"],
        note=fields["note"],
        seq=int(fields["seq"]),
        time=int(fields["time"]),
        kill_until=int(fields["kill_until"]),
        ttl_ms=int(fields["ttl_ms"]),
        block_until=int(fields["block_until"]),
        lift_actor=fields["lift_actor"],
        lift_note=fields["lift_note"],
        lift_time=int(fields["lift_time"]),
        lift_seq=int(fields["lift_seq"]),
        standing=_flag(fields["standing"]),
    )


def duty_fields(duty: Duty) -> dict[str, str]:
    """Write a duty as fields."""
    return {
        "run": duty.run_id,
        "op": duty.op_id,
        "kind": duty.kind.value,
        "name": duty.name,
        "state": duty.state.value,
        "seq": str(duty.seq),
        "fence": str(duty.fence),
        "epoch": duty.epoch,
        "due": str(duty.due),
        "until": str(duty.until),
        "attempts": str(duty.attempts),
        "worker": duty.worker,
        "lease": duty.lease,
        "lease_until": str(duty.lease_until),
        "failed_lease": duty.failed_lease,
        "failed_seq": str(duty.failed_seq),
        "job": str(duty.job),
        "handle": duty.handle,
    }


def duty_from(fields: Fields) -> Duty:
    """Read a duty back."""
    return Duty(
        run_id=fields["run"],
        op_id=fields["op"],
        kind=DutyKind(fields["kind"]),
        name=fields["name"],
        state=DutyState(fields["state"]),
        seq=int(fields["seq"]),
        fence=int(fields["fence"]),
        epoch=fields["epoch"],
        due=int(fields["due"]),
        until=int(fields["until"]),
        attempts=int(fields["attempts"]),
        worker=fields["worker"],
        lease=fields["lease"],
        lease_until=int(fields["lease_until"]),
        failed_lease=fields["failed_lease"],
        failed_seq=int(fields["failed_seq"]),
        job=int(fields["job"]),
        handle=fields["handle"],
    )


def path_from(text: str) -> tuple[str, ...]:
    """Read a list of run ids back."""
    return _list_from(text, ",")


def _flag(text: str) -> bool:
    if text not in ("", "1"):
        raise ValueError(f"{text!r} is no flag")
    return text == "1"


def _list_from(text: str, separator: str) -> tuple[str, ...]:
    return tuple(text.split(separator)) if text else ()


def _budgets(budgets: tuple[Budget, ...]) -> str:
    """Write budgets: `name limit policy taken until:amount,until:amount`, joined by semicolons."""
    return ";".join(
        f"{one.name} {one.limit} {one.on_exhausted} {one.taken} "
        + ",".join(f"{until}:{amount}" for until, amount in one.reserved)
        for one in budgets
    )


def _budgets_from(text: str) -> tuple[Budget, ...]:
    return tuple(_budget_from(one) for one in _list_from(text, ";"))


def _budget_from(text: str) -> Budget:
    name, limit, policy, taken, reserved = text.split(" ")
    slots = (slot.split(":") for slot in _list_from(reserved, ","))
    held = tuple((int(until), int(amount)) for until, amount in slots)
    return Budget(name, int(limit), Exhaustion(policy), int(taken), held)


def _costs_from(text: str) -> Costs:
    pairs = (one.split("=") for one in _list_from(text, ","))
    return tuple((name, int(amount)) for name, amount in pairs)


def scopes_from(text: str) -> tuple[Scope, ...]:
    """Read scopes back."""
    return tuple(
        Scope(action, resource, uses, Reversibility(ceiling), Reversibility(demand) if demand else None)
        for action, resource, uses, ceiling, demand in json.loads(text)
    )
