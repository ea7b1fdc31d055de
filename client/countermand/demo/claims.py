"""What the demo claims: counted from the ledger, the journal and the reports, never assumed."""

from dataclasses import dataclass

from countermand import ActionState, CallOffState
from countermand.demo.story import Played, Stopped


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: what was counted, and whether it bears it out."""

    claim: str
    found: int
    holds: bool


def check(without: Played, played: Played, stopped: Stopped) -> list[Claim]:
    """Check every claim."""
    late = late_commits(stopped)
    unlisted = not_in_the_stop_report(played, stopped)
    wrong = not_as_reported(played, stopped)
    unexplained = [event for event in played.refused if not event.told.startswith("REVOKED")]
    naive = len(without.after_stop)
    undone = [effect.op_id for effect in played.undone]
    landed = called_off(stopped) & {effect.op_id for effect in played.effects}
    return [
        Claim("without: effects that landed after the user was told Stopped", naive, naive > 0),
        Claim("with: commits accepted after the cancel had answered", late, late == 0),
        Claim("with: effects that landed and were not in the stop report", len(unlisted), not unlisted),
        Claim("with: effects the last report has wrong", len(wrong), not wrong),
        Claim(
            "with: late attempts refused, each told why",
            len(played.refused),
            bool(played.refused) and not unexplained,
        ),
        Claim(
            "with: effects undone afterwards, the last one first, as asked and as reported",
            len(undone),
            bool(undone) and undone == list(stopped.asked.op_ids) and set(undone) == reported_undone(stopped),
        ),
        Claim("with: jobs called off that landed all the same", len(landed), not landed),
    ]


def late_commits(stopped: Stopped) -> int:
    """Permits the journal has behind the cut."""
    cut = stopped.cancelled.report.cut_seq
    return sum(entry.kind == "PERMITTED" and entry.seq > cut for entry in stopped.journal)


def not_in_the_stop_report(played: Played, stopped: Stopped) -> set[str]:
    """Effects that landed, though the answer to the cancel has them neither as done nor as in flight."""
    report = stopped.cancelled.report
    listed = {action.op_id for action in (*report.done, *report.in_flight, *report.unknown)}
    return {effect.op_id for effect in played.effects} - listed


def not_as_reported(played: Played, stopped: Stopped) -> set[str]:
    """Effects the last report calls done that the outside world has not seen, and the other way round."""
    done = {action.op_id for action in stopped.report.done} - called_off(stopped)
    return {effect.op_id for effect in played.effects} ^ done


def called_off(stopped: Stopped) -> set[str]:
    """Jobs that the last report says were called off."""
    done = stopped.report.done
    acknowledged = {CallOffState.ACKNOWLEDGED}
    return {one.op_id for one in done if {job.state for job in one.call_offs} == acknowledged}


def reported_undone(stopped: Stopped) -> set[str]:
    """Effects that the last report says are undone."""
    return {one.op_id for one in stopped.report.done if one.state is ActionState.UNDONE}
