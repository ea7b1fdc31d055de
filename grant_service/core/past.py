"""What journals tell of records that the store has let go of: enough to say why an action is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from grant_service.core.action import Action, ActionState, Intent
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry, Journals, Kind, whole_journal
from grant_service.core.run import Run
from grant_service.core.scope import Reversibility


@dataclass(slots=True)
class Past:
    """An action of a run that was archived, the grants of its path, and the journals they are told from."""

    action: Action
    kept: Journals
    found: dict[str, Grant] = field(default_factory=dict)

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        return await self.kept.journal(run_id, after_seq, limit)

    async def grants(self, ids: Sequence[str]) -> list[Grant | None]:
        """Tell of grants by id."""
        return [self.found.get(one) for one in ids]


async def past_of(journals: Journals, path: Sequence[Run], op_id: str) -> Past | None:
    """Find an action in the journal of the last run of a path; None if it is not there."""
    run = path[-1]
    action = _action(await whole_journal(journals, run.run_id), op_id)
    if action is None:
        return None
    past = Past(action, journals)
    for one in path:
        past.found |= _grants(one, await whole_journal(journals, one.run_id))
    return past


def _action(entries: Iterable[Entry], op_id: str) -> Action | None:
    """Tell of an action as far as its lines do: what it was, and whether it had a permit."""
    action = None
    for entry in entries:
        if entry.op_id != op_id:
            continue
        if entry.kind is Kind.PREPARED:
            action = _prepared(entry)
        elif entry.kind is Kind.PERMITTED and action:
            action = replace(action, state=ActionState.PERMITTED, fence=entry.seq)
    return action


def _prepared(entry: Entry) -> Action:
    data = entry.data
    intent = Intent(
        op_id=entry.op_id,
        action=data["action"],
        resource=data.get("resource", ""),
        digest=data.get("digest", ""),
        reversibility=Reversibility(data["reversibility"]),
    )
    return Action(
        run_id=entry.run_id,
        grant_id=data["grant"],
        intent=intent,
        scope=0,
        state=ActionState.PREPARED,
        prepare_time=entry.time,
        prepare_seq=entry.seq,
        expire_time=int(data["expire"]),
    )


def _grants(run: Run, entries: Iterable[Entry]) -> dict[str, Grant]:
    """Tell of the grants of a run: where each came from, and what ended it."""
    grants: dict[str, Grant] = {}
    for entry in entries:
        data = entry.data
        if entry.kind in (Kind.ISSUED, Kind.DELEGATED):
            grants[data["grant"]] = Grant(
                grant_id=data["grant"],
                run_id=run.run_id,
                ancestors=run.ancestors,
                audience=data["audience"],
                epoch=run.epoch,
                scopes=(),
                used=(),
                issue_time=entry.time,
                expire_time=int(data["expire"]),
                issue_seq=entry.seq,
                ttl_ms=0,
                root_seq=int(data.get("root", entry.seq)),
                chain=tuple(data["chain"].split(",")) if "chain" in data else (),
            )
        elif entry.kind is Kind.EXTENDED and data["grant"] in grants:
            grants[data["grant"]] = replace(grants[data["grant"]], expire_time=int(data["expire"]))
        elif entry.kind is Kind.EXHAUSTED and data["grant"] in grants:
            ended = grants[data["grant"]]
            grants[data["grant"]] = replace(
                ended, end_time=entry.time, end_seq=entry.seq, end_budget=data["budget"]
            )
    return grants
