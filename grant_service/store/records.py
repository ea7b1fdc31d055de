"""Records as flat text fields: the one form in which SQLite rows and Redis hashes keep them."""

import json
from collections.abc import Mapping

from grant_service.core.action import Action, ActionState, Intent
from grant_service.core.grant import Grant
from grant_service.core.lifecycle import labels_text, scopes_text
from grant_service.core.run import Run, RunState
from grant_service.core.scope import Reversibility, Scope

Fields = Mapping[str, str]


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
        "used": ",".join(map(str, grant.used)),
        "issue_time": str(grant.issue_time),
        "expire_time": str(grant.expire_time),
        "issue_seq": str(grant.issue_seq),
        "ttl_ms": str(grant.ttl_ms),
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
        used=tuple(int(count) for count in fields["used"].split(",")),
        issue_time=int(fields["issue_time"]),
        expire_time=int(fields["expire_time"]),
        issue_seq=int(fields["issue_seq"]),
        ttl_ms=int(fields["ttl_ms"]),
    )


def action_fields(action: Action) -> dict[str, str]:
    """Write an action as fields."""
    intent = action.intent
    return {
        "run": action.run_id,
        "grant": action.grant_id,
        "op": intent.op_id,
        "action": intent.action,
        "resource": intent.resource,
        "digest": intent.digest,
        "reversibility": intent.reversibility.value,
        "compensation": intent.compensation,
        "scope": str(action.scope),
        "state": action.state.value,
        "prepare_time": str(action.prepare_time),
        "prepare_seq": str(action.prepare_seq),
        "expire_time": str(action.expire_time),
        "fence": str(action.fence),
        "use_by": str(action.use_by),
        "settle_seq": str(action.settle_seq),
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
        ),
        scope=int(fields["scope"]),
        state=ActionState(fields["state"]),
        prepare_time=int(fields["prepare_time"]),
        prepare_seq=int(fields["prepare_seq"]),
        expire_time=int(fields["expire_time"]),
        fence=int(fields["fence"]),
        use_by=int(fields["use_by"]),
        settle_seq=int(fields["settle_seq"]),
    )


def path_from(text: str) -> tuple[str, ...]:
    """Read a list of run ids back."""
    return tuple(text.split(",")) if text else ()


def scopes_from(text: str) -> tuple[Scope, ...]:
    """Read scopes back."""
    return tuple(
        Scope(action, resource, uses, Reversibility(ceiling))
        for action, resource, uses, ceiling in json.loads(text)
    )
