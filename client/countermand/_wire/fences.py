"""Fences, what they stand over, and why a call is refused."""

from countermand._models.fences import Explanation, Fence, Hit, HitRow, HitRun, Selector
from countermand._wire.entries import entry
from countermand._wire.words import every, time, word
from countermand._words import ErrorReason, FenceKind, FenceState, StopReason
from countermand.v1 import journal_service_pb2 as journal


def selector_message(selector: Selector) -> journal.Selector:
    """Write a selector."""
    return journal.Selector(
        run_id=selector.run_id,
        grant_id=selector.grant_id,
        subject=selector.subject,
        agent=selector.agent,
        tenant=selector.tenant,
        action=selector.action,
        labels=selector.labels,
        all=selector.all,
    )


def _selector(message: journal.Selector) -> Selector:
    return Selector(
        run_id=message.run_id,
        grant_id=message.grant_id,
        subject=message.subject,
        agent=message.agent,
        tenant=message.tenant,
        action=message.action,
        labels=dict(message.labels),
        all=message.all,
    )


def fence(message: journal.Fence) -> Fence:
    """Read a fence."""
    return Fence(
        fence_id=message.fence_id,
        kind=word(FenceKind, message.kind),
        selector=_selector(message.selector),
        reason=word(StopReason, message.reason),
        actor=message.actor,
        note=message.note,
        seq=message.seq,
        time=time(message, "time"),
        expire_time=time(message, "expire_time"),
        state=word(FenceState, message.state),
        lift_actor=message.lift_actor,
        lift_note=message.lift_note,
        lift_time=time(message, "lift_time"),
    )


def hit(message: journal.Hit) -> Hit:
    """Read what a fence stands over."""
    return Hit(
        run_count=message.run_count,
        grant_count=message.grant_count,
        prepared_count=message.prepared_count,
        in_flight_count=message.in_flight_count,
        rows=every(_hit_row, message.rows),
        samples=every(_hit_run, message.samples),
        complete=message.complete,
        time=time(message, "time"),
    )


def _hit_row(message: journal.HitRow) -> HitRow:
    return HitRow(message.tenant, message.action, message.prepared_count, message.in_flight_count)


def _hit_run(message: journal.HitRun) -> HitRun:
    who = (message.run_id, message.subject, message.agent, message.tenant)
    return HitRun(*who, message.grant_count, message.prepared_count, message.in_flight_count)


def explanation(message: journal.ExplainRefusalResponse) -> Explanation:
    """Read why a call would be refused."""
    return Explanation(
        reason=word(ErrorReason, message.reason),
        since_time=time(message, "since_time"),
        text=message.text,
        details=dict(message.details),
        fence=fence(message.fence) if message.HasField("fence") else None,
        story=every(entry, message.story),
    )
