"""What the shell can offer while a line is typed: live runs, grants, reasons. Silent when nobody answers."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from countermand import FenceKind, PendingApproval
from countermand.cli.call import Place, connect

Offer = list[tuple[str, str]]

#: How long a person waits for Tab, in seconds.
_PATIENCE = 1.0
_MOST = 100

#: What a person or a program may give as the reason of a cancel; the sidecar itself gives the others.
REASONS = {
    "user_stop": "the user of the run asked for it to stop",
    "incident": "an operator handles an incident",
    "policy": "a policy forbids what the run was doing",
    "budget": "a budget ran out",
    "deadline": "it took too long",
    "client_disconnected": "the client it worked for went away",
    "superseded": "another run took over its work",
}


def reasons(incomplete: str) -> Offer:
    """Reasons of a cancel."""
    typed = incomplete.lower().replace("-", "_")
    return [(name, means) for name, means in REASONS.items() if name.startswith(typed)]


def _runs(state: str) -> Callable[[typer.Context, str], Offer]:
    def offer(ctx: typer.Context, incomplete: str) -> Offer:
        try:
            with connect(_place(ctx), _PATIENCE) as client:
                page = client.auditor.runs(state=state, page_size=_MOST)
        except Exception:  # a shell that prints an error in the middle of a line helps nobody
            return []
        runs = [run for run in page.runs if run.run_id.startswith(incomplete)]
        return [(run.run_id, f"{run.state.lower()} {run.agent} {run.subject}".strip()) for run in runs]

    return offer


all_runs = _runs("UNSPECIFIED")
active_runs = _runs("ACTIVE")
cancelled_runs = _runs("CANCELLED")


def frozen_fences(ctx: typer.Context, incomplete: str) -> Offer:
    """Freezes that stand: what can be lifted."""
    try:
        with connect(_place(ctx), _PATIENCE) as client:
            found = client.auditor.fences(standing_only=True)
    except Exception:
        return []
    return [
        (one.fence_id, f"{one.reason.lower()} {one.note}".strip())
        for one in found
        if one.kind is FenceKind.FREEZE and one.fence_id.startswith(incomplete)
    ]


def waiting_runs(ctx: typer.Context, incomplete: str) -> Offer:
    """Runs with an action that waits for a person."""
    return [(one.run_id, one.action) for one in _waiting(ctx) if one.run_id.startswith(incomplete)]


def waiting_ops(ctx: typer.Context, incomplete: str) -> Offer:
    """Actions that wait for a person, in the run that is typed already."""
    run = ctx.params.get("run") or ""
    return [
        (one.op_id, f"{one.action} {one.summary}".strip())
        for one in _waiting(ctx)
        if one.run_id == run and one.op_id.startswith(incomplete)
    ]


def _waiting(ctx: typer.Context) -> Sequence[PendingApproval]:
    try:
        with connect(_place(ctx), _PATIENCE) as client:
            return client.auditor.approvals().approvals
    except Exception:
        return ()


def grants(ctx: typer.Context, incomplete: str) -> Offer:
    """Grants whose tokens are kept here."""
    from countermand.cli.tokens import kept_grants

    try:
        return [
            (name, "issued here")
            for name in kept_grants(_place(ctx).directory)
            if name.startswith(incomplete)
        ]
    except OSError:
        return []


def _place(ctx: typer.Context) -> Place:
    told: dict[str, str] = {}
    above: Any = ctx
    while above:  # what is said nearer to the verb wins
        told = {name: value for name, value in above.params.items() if value} | told
        above = above.parent
    return Place(told.get("home"), told.get("target"))
