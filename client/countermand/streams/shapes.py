"""How chunks of the SDKs are looked into, be they objects or plain dictionaries."""

from collections.abc import Mapping
from typing import Any


def get(one: Any, name: str) -> Any:
    """Answer what it has by that name; None if nothing."""
    return one.get(name) if isinstance(one, Mapping) else getattr(one, name, None)


def kind_of(chunk: object) -> str | None:
    """Answer which event it says that it is."""
    kind = get(chunk, "type") or get(chunk, "event_kind")
    return kind if isinstance(kind, str) else None
