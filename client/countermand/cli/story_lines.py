"""The story of an action, a numbered line for each entry: what came first shows which side won."""

from collections.abc import Iterator

from countermand import Entry, Explanation
from countermand.cli.words import clock_time, now, who

#: The fields that tell most of an entry, by its kind.
_TOLD = {
    "PREPARED": ("action", "resource"),
    "PERMITTED": (),
    "SETTLED": ("outcome", "receipt", "handle", "why_not"),
    "RESOLVED": ("outcome",),
    "CLAIMED": ("duty", "handle"),
    "TRIED": ("duty", "handle"),
    "UNDONE": ("receipt",),
    "CALLED_OFF": ("outcome", "handle"),
    "CANCELLED": ("reason",),
    "REVOKED": ("fence", "selector", "reason"),
    "FROZEN": ("fence", "selector", "reason"),
    "EXHAUSTED": ("budget",),
    "REFUSED": ("verb", "reason"),
}
_FENCES = "_fences"


def story_lines(told: Explanation) -> Iterator[str]:
    """Write who did what, in the order of the journal's numbers."""
    run = next((one.run_id for one in told.story if one.op_id), "")
    for number, one in enumerate(told.story, 1):
        when = clock_time(one.time, now())
        facts = [*(one.data[name] for name in _TOLD.get(one.kind, ()) if name in one.data), *_of(one, run)]
        note = f" “{one.data['note']}”" if "note" in one.data else ""
        words = " ".join([f"{_who(one, told)}:", *facts]) if facts else _who(one, told)
        yield f"  {number}. entry {one.seq:<6} {when}  {one.kind:<10}  {words}{note}"


def _of(one: Entry, run: str) -> list[str]:
    """Name the run of an entry that is not the action's own."""
    return [f"(run {one.run_id}, above it)"] if one.run_id not in (run, _FENCES) else []


def _who(one: Entry, told: Explanation) -> str:
    """Who did it, as far as the journal says: what names nobody was done under the action's grant."""
    if actor := one.data.get("actor") or one.data.get("worker"):
        return who(actor)
    grants = [entry.data["grant"] for entry in [one, *told.story] if "grant" in entry.data]
    return f"the tool, under grant {grants[0]}" if grants else "the sidecar"
