"""Opening and ending runs."""

from dataclasses import replace

from grant_service.core import verbs
from grant_service.core.budget import budgets_text
from grant_service.core.duty import AT_ONCE
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import marks_of
from grant_service.core.journal import Kind
from grant_service.core.lifecycle.questions import clock_unsure, end_details, ended
from grant_service.core.run import MAX_DEPTH, Run, RunState, StopReason, labels_text
from grant_service.core.store import State


def open(state: State, command: verbs.Open) -> verbs.Opened | Refusal:
    """Open a run, unless it was ended before or a run above it has ended."""
    if unsure := clock_unsure(state):
        return unsure
    existing = state.run(command.run_id)
    if existing:
        return _open_again(state, existing, command)
    parent = state.run(command.parent) if command.parent else None
    if command.parent:
        if parent is None:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.parent})
        if refusal := ended(state, parent.path, command.parent) or too_deep(parent, command.run_id):
            return refusal
    return verbs.Opened(write_run(state, command, parent), replayed=False)


def too_deep(parent: Run, run_id: str) -> Refusal | None:
    """Refuse a run below one that is as deep as runs may be."""
    if len(parent.path) < MAX_DEPTH:
        return None
    depth = {"depth": str(len(parent.path) + 1), "limit": str(MAX_DEPTH)}
    return Refusal(ErrorReason.RUN_TOO_DEEP, {"run": run_id} | depth)


def _open_again(state: State, existing: Run, command: verbs.Open) -> verbs.Opened | Refusal:
    if refusal := ended(state, existing.path, command.run_id):
        return refusal
    if not is_same(existing, command):
        return Refusal(ErrorReason.RUN_EXISTS, {"run": command.run_id})
    return verbs.Opened(existing, replayed=True)


def is_same(existing: Run, command: verbs.Open) -> bool:
    """Say whether a run was opened with this very content."""
    asked = (command.parent, command.subject, command.agent, command.tenant, dict(command.labels))
    stored = (existing.parent, existing.subject, existing.agent, existing.tenant, dict(existing.labels))
    budgets = tuple(one.asked for one in existing.budgets)
    return (asked, command.ttl_ms, command.budgets) == (stored, existing.ttl_ms, budgets)


def write_run(state: State, command: verbs.Open, parent: Run | None) -> Run:
    """Write a run and its lines. A ttl of 0 lasts as long as the run above it."""
    deadline = state.now + command.ttl_ms
    if parent:
        deadline = min(deadline, parent.deadline) if command.ttl_ms else parent.deadline
    data = {"parent": command.parent, "subject": command.subject, "agent": command.agent}
    data |= {"tenant": command.tenant, "labels": labels_text(command.labels), "deadline": str(deadline)}
    data["budgets"] = budgets_text(command.budgets)
    own = marks_of(command.run_id, command.subject, command.agent, command.tenant, command.labels)
    run = Run(
        run_id=command.run_id,
        parent=command.parent,
        ancestors=parent.path if parent else (),
        subject=command.subject,
        agent=command.agent,
        tenant=command.tenant,
        labels=dict(command.labels),
        epoch=state.epoch,
        open_time=state.now,
        open_seq=state.append(command.run_id, Kind.OPENED, data),
        ttl_ms=command.ttl_ms,
        deadline=deadline,
        keep_until=deadline + command.keep_ms,
        marks=tuple(dict.fromkeys([*(parent.marks if parent else ()), *own])),
        budgets=command.budgets,
    )
    state.put(run)
    if parent:
        state.append(parent.run_id, Kind.CHILD_OPENED, {"child": run.run_id})
    return run


def cancel(state: State, command: verbs.Cancel) -> verbs.Cancelled:
    """End a run for good. Its cost does not depend on what runs below it: they look up, it never looks down.

    Nothing refuses it. A run id nobody knows gets a tombstone and can never be opened.
    """
    run = state.run(command.run_id)
    if run and run.state is not RunState.ACTIVE:
        return verbs.Cancelled(
            run.run_id, run.state, run.end_seq, run.end_time, known=run.was_opened, replayed=True
        )
    why = (command.actor, command.note, command.tag)
    seq = end_run(state, run or Run(command.run_id, epoch=state.epoch), command.reason, *why)
    return verbs.Cancelled(
        command.run_id, RunState.CANCELLED, seq, state.now, known=run is not None, replayed=False
    )


def end_run(state: State, run: Run, reason: StopReason, actor: str, note: str, tag: str) -> int:
    """Write that a run is cancelled, and answer the cut."""
    data = {"reason": reason, "actor": actor, "note": note, "tag": tag}
    seq = state.append(run.run_id, Kind.CANCELLED, data)
    state.put(
        replace(
            run,
            state=RunState.CANCELLED,
            end_reason=reason,
            end_actor=actor,
            end_note=note,
            end_tag=tag,
            end_time=state.now,
            end_seq=seq,
            end_epoch=state.epoch,
        )
    )
    if state.jobs(run.run_id, below=True, limit=1):
        state.look_below(run.run_id, AT_ONCE)
    return seq


def release(state: State, command: verbs.Release) -> bool:
    """Let go of a run that has ended and was archived whole. What is left says how it ended, for ever."""
    run = state.run(command.run_id)
    if run is None or ended(state, run.path, run.run_id) is None:
        return False
    if not command.last_seq or state.last_seq(run.run_id) != command.last_seq:
        return False
    state.put(replace(run, labels={}, marks=(), budgets=()))
    state.forget(command)
    return True


def finish(state: State, command: verbs.Finish) -> verbs.Finished | Refusal:
    """End a run that did its work, unless it was cancelled first."""
    run = state.run(command.run_id)
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": command.run_id})
    if run.state is RunState.FINISHED:
        return verbs.Finished(run, replayed=True)
    if run.state is RunState.CANCELLED:
        return Refusal(ErrorReason.REVOKED, end_details(state, run, run.run_id))
    seq = state.append(run.run_id, Kind.FINISHED, {"actor": command.actor, "note": command.note})
    finished = replace(
        run,
        state=RunState.FINISHED,
        end_reason=StopReason.RUN_FINISHED,
        end_actor=command.actor,
        end_note=command.note,
        end_time=state.now,
        end_seq=seq,
        end_epoch=state.epoch,
    )
    state.put(finished)
    return verbs.Finished(finished, replayed=False)
