"""What must be so in every journal, whoever wrote it: what a journal can be caught at without any head."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from countermand.evidence import Line

#: The journal of the fences belongs to no run, and has another beginning and no end.
FENCES = "_fences"
_ENDS = frozenset({"CANCELLED", "FINISHED"})
_OUTCOMES = frozenset({"SETTLED", "RESOLVED"})
_FINAL = frozenset({"SUCCEEDED", "FAILED"})
#: What an entry about an action needs before it. Kinds that are not known here are let pass.
_AFTER = {
    "APPROVED": "PREPARED",
    "DENIED": "PREPARED",
    "ABANDONED": "PREPARED",
    "PERMITTED": "PREPARED",
    "SETTLED": "PERMITTED",
}


class Journal:
    """Takes the entries of one run in order, and says of each what is wrong with it."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._seq, self._time, self._count = 0, 0, 0
        self._ended_by = 0
        #: Which kinds were seen of each action, by which number first; and the last outcome.
        self._seen: dict[tuple[str, str], int] = {}
        self._outcome: dict[str, str] = {}

    def fault(self, line: "Line") -> str:
        """Take the next entry; answer what is wrong with it, or ''."""
        text = self._order(line) or self._place(line) or self._action(line)
        self._count += 1
        self._seq, self._time = line.seq, line.time
        return text

    def _order(self, line: "Line") -> str:
        if line.run_id != self._run_id:
            return f"it is of run {line.run_id}"
        if line.seq <= self._seq:
            return f"its number is not higher than the one before it, {self._seq}"
        if line.time < self._time:
            return "it is earlier than the one before it, and the store's time never goes back"
        return ""

    def _place(self, line: "Line") -> str:
        if self._run_id == FENCES:
            return ""
        first = self._count == 0
        if line.kind == "OPENED" and not first:
            return "a run is opened once, by its first entry"
        if first and line.kind not in ("OPENED", "CANCELLED"):
            return "a journal begins with OPENED, or with the CANCELLED of a run that nobody opened"
        if line.kind in _ENDS:
            if self._ended_by:
                return f"the run had ended by entry {self._ended_by}, and a run ends once"
            self._ended_by = line.seq
        return ""

    def _action(self, line: "Line") -> str:
        op = line.data.get("op", "")
        needs = _AFTER.get(line.kind)
        if (needs or line.kind == "PREPARED") and not op:
            return "it names no action"
        if needs and (op, needs) not in self._seen:
            return f"action {op} was not {needs} before"
        once = line.kind in ("PREPARED", "PERMITTED")
        if once and (op, line.kind) in self._seen:
            return f"action {op} was {line.kind} before, by entry {self._seen[op, line.kind]}"
        if line.kind == "PERMITTED" and 0 < self._ended_by > self._seen[op, "PREPARED"]:
            return f"the run had ended by entry {self._ended_by}: nothing prepared before is permitted"
        if line.kind in _OUTCOMES:
            known, told = self._outcome.get(op), line.data.get("outcome", "")
            if known in _FINAL and told != known:  # who says the same again may add to it
                return f"action {op} had the outcome {known}, which is final"
            self._outcome[op] = told
        self._seen.setdefault((op, line.kind), line.seq)
        return ""
