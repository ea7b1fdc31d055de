"""Answers as messages: what was decided, in the words of the contract."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from grant_service.core import report as core
from grant_service.core import verbs
from grant_service.core.action import Action, ActionState, Approval
from grant_service.core.budget import Budget
from grant_service.core.duty import DutyState
from grant_service.core.errors import Refusal, explain
from grant_service.core.fence import Fence, FenceKind, Selector
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry
from grant_service.core.report import PARTS
from grant_service.core.run import End, Run, RunState
from grant_service.core.scope import Reversibility
from grant_service.core.store import Durability
from grant_service.core.sweep import Hit
from grant_service.core.why import Why

_NEVER = action_pb.REVERSIBILITY_UNSPECIFIED


def moment(time: int) -> Timestamp | None:
    """Write a time of the store's clock; 0 is no time."""
    return Timestamp(seconds=time // 1000, nanos=time % 1000 * 1_000_000) if time else None


def run(told: Run, end: End | None, now: int) -> grant_pb.Run:
    """Write a run as it stands at a time of the store's clock."""
    return grant_pb.Run(
        run_id=told.run_id,
        parent_run_id=told.parent,
        ancestor_run_ids=told.ancestors,
        subject=told.subject,
        agent=told.agent,
        tenant=told.tenant,
        labels=told.labels,
        state=run_state(end.state if end else RunState.ACTIVE),
        open_time=moment(told.open_time),
        deadline_time=moment(told.deadline),
        end=_end(end) if end else None,
        action_count=told.actions,
        refusal_count=told.refusals,
        store_epoch=told.epoch,
        budgets=[budget(one, now) for one in told.budgets],
    )


def duration(ms: int) -> Duration:
    """Write a length of time."""
    return Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def budget(told: Budget, now: int) -> grant_pb.BudgetStanding:
    """Write a budget as it stands."""
    on_exhausted = grant_pb.Exhaustion.Value(f"EXHAUSTION_{told.on_exhausted}")
    return grant_pb.BudgetStanding(
        budget=grant_pb.Budget(name=told.name, limit=told.limit, on_exhausted=on_exhausted),
        taken=told.taken,
        reserved=told.held(now),
        remaining=told.left(now),
    )


def _end(told: End) -> grant_pb.End:
    return grant_pb.End(
        reason=errors_pb2.StopReason.Value(f"STOP_REASON_{told.reason}"),
        actor=told.actor,
        note=told.note,
        tag=told.tag,
        time=moment(told.time),
        seq=told.seq,
        run_id=told.run_id,
    )


def run_state(state: RunState) -> "grant_pb.RunState.ValueType":
    """Write a run's state."""
    return grant_pb.RunState.Value(f"RUN_STATE_{state}")


def action_state(state: ActionState) -> "action_pb.ActionState.ValueType":
    """Write an action's state."""
    return action_pb.ActionState.Value(f"ACTION_STATE_{state}")


def _reversibility(told: Reversibility) -> "action_pb.Reversibility.ValueType":
    return action_pb.Reversibility.Value(f"REVERSIBILITY_{told}")


def durability(told: Durability) -> "journal_pb.Durability.ValueType":
    """Write what a decision survives."""
    return journal_pb.Durability.Value(f"DURABILITY_{told}")


def grant(told: Grant, now: int) -> grant_pb.Grant:
    """Write a grant as it stands at a time of the store's clock."""
    return grant_pb.Grant(
        grant_id=told.grant_id,
        run_id=told.run_id,
        audience=told.audience,
        scopes=[
            grant_pb.Scope(
                action=one.action,
                resource=one.resource,
                max_uses=one.max_uses,
                ceiling=_reversibility(one.ceiling),
                approval_from=_reversibility(one.approval_from) if one.approval_from else _NEVER,
            )
            for one in told.scopes
        ],
        issue_time=moment(told.issue_time),
        expire_time=moment(told.expire_time),
        chain_grant_ids=told.chain,
        sealed=told.sealed,
        budgets=[budget(one, now) for one in told.budgets],
    )


def approval(told: Approval | None) -> action_pb.Approval | None:
    """Write what a person agreed to."""
    if told is None:
        return None
    return action_pb.Approval(
        actor=told.actor,
        note=told.note,
        expire_time=moment(told.until),
        amendment=told.amendment,
        amended_digest=bytes.fromhex(told.digest),
    )


def pending_approval(told: Action, run: Run) -> journal_pb.PendingApproval:
    """Write an action that waits for a person."""
    intent = told.intent
    return journal_pb.PendingApproval(
        run_id=told.run_id,
        op_id=intent.op_id,
        action=intent.action,
        resource=intent.resource,
        digest=bytes.fromhex(intent.digest),
        reversibility=_reversibility(intent.reversibility),
        summary=intent.summary,
        costs=dict(intent.costs),
        subject=run.subject,
        agent=run.agent,
        tenant=run.tenant,
        prepare_time=moment(told.prepare_time),
        expire_time=moment(told.expire_time),
    )


def fence(told: Fence, now: int) -> journal_pb.Fence:
    """Write a fence as it stands at a time of the store's clock."""
    return journal_pb.Fence(
        fence_id=told.fence_id,
        kind=journal_pb.FenceKind.Value(f"FENCE_KIND_{told.kind}"),
        selector=_selector(told.selector),
        reason=errors_pb2.StopReason.Value(f"STOP_REASON_{told.reason}"),
        actor=told.actor,
        note=told.note,
        seq=told.seq,
        time=moment(told.time),
        expire_time=moment(told.block_until),
        state=_fence_state(told, now),
        lift_actor=told.lift_actor,
        lift_note=told.lift_note,
        lift_time=moment(told.lift_time),
    )


def _fence_state(told: Fence, now: int) -> "journal_pb.FenceState.ValueType":
    if told.lift_time:
        return journal_pb.FENCE_STATE_LIFTED
    stands = told.blocks(now) if told.kind is FenceKind.FREEZE else not told.is_over(now)
    return journal_pb.FENCE_STATE_STANDING if stands else journal_pb.FENCE_STATE_EXPIRED


def _selector(told: Selector) -> journal_pb.Selector:
    message = journal_pb.Selector(action=told.action, all=not told.marks and not told.action)
    for mark in told.marks:
        kind, _, value = mark.partition("=")
        if kind == "label":
            name, _, value = value.partition("=")
            message.labels[name] = value
        else:
            setattr(message, f"{kind}_id" if kind in ("run", "grant") else kind, value)
    return message


def explanation(told: Why) -> journal_pb.ExplainRefusalResponse:
    """Write which rule refuses, and since when; or what is to be said where none does."""
    refusal, over, now = told.refusal, told.fence, told.now
    story = [entry(one) for one in told.story]
    if refusal is None:
        noted = fence(over, now) if over else None
        text = told.remark or "nothing refuses it"
        return journal_pb.ExplainRefusalResponse(text=text, fence=noted, story=story)
    return journal_pb.ExplainRefusalResponse(
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{refusal.reason}"),
        since_time=moment(int(refusal.details.get("ended_time", 0))),
        text=explain(refusal),
        details=refusal.details,
        fence=fence(over, now) if over else None,
        story=story,
    )


def hit(told: Hit) -> journal_pb.Hit:
    """Write what a fence stands over."""
    return journal_pb.Hit(
        run_count=told.run_count,
        grant_count=told.grant_count,
        prepared_count=sum(row.prepared for row in told.rows.values()),
        in_flight_count=sum(row.in_flight for row in told.rows.values()),
        rows=[
            journal_pb.HitRow(
                tenant=tenant, action=action, prepared_count=row.prepared, in_flight_count=row.in_flight
            )
            for (tenant, action), row in sorted(told.rows.items())
        ],
        samples=[
            journal_pb.HitRun(
                run_id=one.run.run_id,
                subject=one.run.subject,
                agent=one.run.agent,
                tenant=one.run.tenant,
                grant_count=one.grants,
                prepared_count=one.prepared,
                in_flight_count=one.in_flight,
            )
            for one in told.samples()
        ],
        complete=told.complete,
        time=moment(told.time),
    )


def permit(told: verbs.Permitted) -> action_pb.Permit:
    """Write a permit."""
    permit = action_pb.Permit(op_id=told.op_id, fence=told.fence, replayed=told.replayed)
    permit.use_by_time.FromMilliseconds(told.use_by)
    permit.use_within.FromMilliseconds(told.left_ms)
    return permit


def entry(told: Entry) -> journal_pb.Entry:
    """Write a line of the journal."""
    return journal_pb.Entry(
        seq=told.seq,
        time=moment(told.time),
        run_id=told.run_id,
        kind=told.kind.value,
        op_id=told.op_id,
        data=told.data,
    )


def report(told: core.Report) -> journal_pb.Report:
    """Write a report, its actions in the parts their states put them in."""
    message = journal_pb.Report(
        run=run(told.run, told.end, told.time),
        descendant_run_ids=told.descendants,
        cut_seq=told.cut_seq,
        last_seq=told.last_seq,
        time=moment(told.time),
        store_epoch=told.epoch,
        durability=durability(told.durability),
        quiesced=told.quiesced,
        complete=not told.gaps,
        gaps=told.gaps,
        late_attempts=[_late_attempt(one) for one in told.late_attempts],
        late_attempt_count=told.late_attempt_count,
        small_print=told.small_print,
        fences=[fence(one, told.time) for one in told.fences],
        at_seq=told.at_seq,
    )
    for part, states in core.PARTS.items():
        getattr(message, part).extend(_reported(action, told.time) for action in told.in_state(*states))
    return message


def _reported(told: core.ReportedAction, now: int) -> journal_pb.ReportedAction:
    call_offs = [_call_off(one) for one in told.call_offs]
    return journal_pb.ReportedAction(
        op_id=told.op_id,
        run_id=told.run_id,
        action=told.action,
        resource=told.resource,
        state=action_state(told.state),
        receipt=told.receipt,
        note=told.note,
        prepare_time=moment(told.prepare_time),
        permit_time=moment(told.permit_time),
        use_by_time=moment(told.use_by),
        settle_time=moment(told.settle_time),
        fence=told.fence,
        settled_after_cut=told.settled_after_cut,
        undo=_undo(told, now),
        resolved_by=told.resolved_by,
        evidence=told.evidence,
        call_off=call_offs[0] if call_offs else None,
        more_call_offs=call_offs[1:],
    )


def _undo(told: core.ReportedAction, now: int) -> journal_pb.Undo | None:
    """Say how an effect can be undone; what certainly never got a permit has none."""
    if not told.fence and told.state is not ActionState.UNKNOWN:
        return None
    why_not = told.why_not_undoable(now)
    return journal_pb.Undo(
        undoable=not why_not,
        how="" if why_not else told.compensation,
        why_not=why_not,
        reversibility=_reversibility(told.reversibility),
        until_time=moment(told.undo_until),
        **_undoing(told.undo),
    )


def _undoing(told: core.Undoing | None) -> dict[str, Any]:
    if told is None:
        return {}
    return {
        "asked_by": told.asked_by,
        "ask_time": moment(told.ask_time),
        "attempts": told.attempts,
        "worker": told.worker,
        "receipt": told.receipt,
        "note": told.note,
        "end_time": moment(told.end_time),
    }


def _call_off(told: core.CallingOff) -> journal_pb.CallOff:
    return journal_pb.CallOff(
        canceller=told.canceller,
        handle=told.handle,
        state=journal_pb.CallOffState.Value(f"CALL_OFF_STATE_{told.outcome or 'NOT_TRIED'}"),
        attempts=told.attempts,
        worker=told.worker,
        note=told.note,
        end_time=moment(told.end_time),
    )


def undo_step(
    told: core.ReportedAction, asked: verbs.UndoAsked | Refusal | None, now: int
) -> control_pb.UndoStep:
    """Write what is done about one effect; `asked` is None for a dry run."""
    why_not, state = told.why_not_undoable(now), told.state
    if isinstance(asked, Refusal):
        why_not = asked.details.get("rule", "") or explain(asked)
    elif asked and state in PARTS["done"]:
        why_not, state = "", _ASKED.get(asked.state, state)
    step = control_pb.UndoStep(
        run_id=told.run_id,
        op_id=told.op_id,
        action=told.action,
        resource=told.resource,
        how="" if why_not else told.compensation,
        why_not=why_not,
        state=action_state(state),
    )
    if isinstance(asked, verbs.UndoAsked):
        step.seq, step.replayed = asked.seq, asked.replayed
    return step


#: Where an effect that happened is once its undo was asked for.
_ASKED = {DutyState.OPEN: ActionState.UNDO_PENDING, DutyState.DONE: ActionState.UNDONE}


def _late_attempt(told: core.LateAttempt) -> journal_pb.LateAttempt:
    prior = ActionState.PERMITTED if told.was_permitted else None
    return journal_pb.LateAttempt(
        seq=told.seq,
        time=moment(told.time),
        run_id=told.run_id,
        verb=told.verb,
        op_id=told.op_id,
        action=told.action,
        resource=told.resource,
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{told.reason}"),
        prior_decision=action_state(prior) if prior else action_pb.ACTION_STATE_UNSPECIFIED,
    )
