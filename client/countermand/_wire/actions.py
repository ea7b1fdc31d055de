"""Actions and what people say about them."""

from countermand._models.actions import Intent
from countermand._models.approvals import Approval, PendingApproval
from countermand._wire.duties import args_text
from countermand._wire.words import number, time, word
from countermand._words import Reversibility
from countermand.v1 import action_service_pb2 as actions
from countermand.v1 import journal_service_pb2 as journal


def intent_message(intent: Intent) -> actions.Intent:
    """Write an intent."""
    return actions.Intent(
        op_id=intent.op_id,
        action=intent.action,
        resource=intent.resource,
        digest=intent.digest,
        reversibility=number(intent.reversibility),
        compensation=intent.compensation,
        compensation_args=args_text("compensation_args", intent.compensation_args),
        probe=intent.probe,
        costs=intent.costs,
        summary=intent.summary,
    )


def approval(message: actions.Approval) -> Approval:
    """Read what a person agreed to."""
    return Approval(
        actor=message.actor,
        note=message.note,
        expire_time=time(message, "expire_time"),
        amendment=message.amendment,
        amended_digest=message.amended_digest,
    )


def pending_approval(message: journal.PendingApproval) -> PendingApproval:
    """Read what waits for a person."""
    return PendingApproval(
        run_id=message.run_id,
        op_id=message.op_id,
        action=message.action,
        resource=message.resource,
        digest=message.digest,
        reversibility=word(Reversibility, message.reversibility),
        summary=message.summary,
        costs=dict(message.costs),
        subject=message.subject,
        agent=message.agent,
        tenant=message.tenant,
        prepare_time=time(message, "prepare_time"),
        expire_time=time(message, "expire_time"),
    )
