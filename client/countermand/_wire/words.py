"""Words, times and lists."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countermand._words import (
    ActionState,
    CallOffState,
    Durability,
    DutyKind,
    DutyState,
    ErrorReason,
    Exhaustion,
    FenceKind,
    FenceState,
    Outcome,
    Reversibility,
    RunState,
    StopReason,
)
from countermand.v1 import action_service_pb2 as actions
from countermand.v1 import errors_pb2 as errors
from countermand.v1 import grant_service_pb2 as grants
from countermand.v1 import journal_service_pb2 as journal
from countermand.v1 import undo_service_pb2 as undo

W = TypeVar("W", bound=StrEnum)
T = TypeVar("T")

#: Our word, the contract's enum, and the prefix its members carry there.
ENUMS: dict[type[StrEnum], tuple[Any, str]] = {
    RunState: (grants.RunState, "RUN_STATE_"),
    ActionState: (actions.ActionState, "ACTION_STATE_"),
    Outcome: (actions.Outcome, "OUTCOME_"),
    Reversibility: (actions.Reversibility, "REVERSIBILITY_"),
    StopReason: (errors.StopReason, "STOP_REASON_"),
    ErrorReason: (errors.ErrorReason, "ERROR_REASON_"),
    Durability: (journal.Durability, "DURABILITY_"),
    Exhaustion: (grants.Exhaustion, "EXHAUSTION_"),
    FenceKind: (journal.FenceKind, "FENCE_KIND_"),
    FenceState: (journal.FenceState, "FENCE_STATE_"),
    CallOffState: (journal.CallOffState, "CALL_OFF_STATE_"),
    DutyKind: (undo.DutyKind, "DUTY_KIND_"),
    DutyState: (undo.DutyState, "DUTY_STATE_"),
}


def word(kind: type[W], number: int) -> W:
    """Read an enum; a member that is newer than this client reads as UNSPECIFIED."""
    enum, prefix = ENUMS[kind]
    name = enum.Name(number).removeprefix(prefix) if number in enum.values() else "UNSPECIFIED"
    return kind[name] if name in kind.__members__ else kind["UNSPECIFIED"]


def number(member: StrEnum) -> Any:
    """Write an enum."""
    enum, prefix = ENUMS[type(member)]
    return enum.Value(f"{prefix}{member.name}")


def time(message: Message, field: str) -> datetime | None:
    """Read a time, None where there is none, or one that no calendar has."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):  # a store that was tampered with must not keep its journal from us
        return None


def every(convert: Callable[[Any], T], messages: Iterable[Any]) -> tuple[T, ...]:
    """Read a repeated field."""
    return tuple(convert(message) for message in messages)
