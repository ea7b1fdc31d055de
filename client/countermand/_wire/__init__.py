"""Between the contract's messages and our values. Nothing here decides anything."""

from countermand._wire.actions import approval, intent_message, pending_approval
from countermand._wire.duties import args_text, duty, undo_asked, undo_withdrawn
from countermand._wire.entries import entry
from countermand._wire.fences import explanation, fence, hit, selector_message
from countermand._wire.reports import evidence_key, report, signed_head
from countermand._wire.runs import budget_messages, child_message, grant, run, scope_messages
from countermand._wire.words import ENUMS, every, number, time, word
from countermand._wire.work import run_work, work_nodes

__all__ = [
    "ENUMS",
    "approval",
    "args_text",
    "budget_messages",
    "child_message",
    "duty",
    "entry",
    "every",
    "evidence_key",
    "explanation",
    "fence",
    "grant",
    "hit",
    "intent_message",
    "number",
    "pending_approval",
    "report",
    "run",
    "run_work",
    "scope_messages",
    "selector_message",
    "signed_head",
    "time",
    "undo_asked",
    "undo_withdrawn",
    "word",
    "work_nodes",
]
