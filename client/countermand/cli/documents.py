"""What is printed for programs: one JSON document with a named, versioned schema.

Names are snake_case, times RFC 3339 in UTC, enums upper-case words. Within a version a schema may gain
fields; it never loses or redefines one.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

Document = dict[str, Any]


def document(schema: str, **parts: object) -> Document:
    """Make a document of this schema."""
    return {"schema": f"countermand.{schema}/v1"} | {name: plain(part) for name, part in parts.items()}


def members(value: Any) -> dict[str, object]:
    """A frozen value's fields by name, for a document of its own."""
    return {one.name: getattr(value, one.name) for one in fields(value)}


def plain(value: object) -> Any:
    """Write a value as JSON has it. What has no agreed form, a grant token above all, is refused."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bytes):  # a digest, as it is said on the command line
        return value.hex()
    if is_dataclass(value):
        return {name: plain(part) for name, part in members(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, Iterable):
        return [plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} has no form in a document")


def moment(value: datetime) -> str:
    """Write a time as RFC 3339."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dumps(value: Document, *, indent: int | None = None) -> str:
    """Write a document as text; ASCII, so that no pipe can garble it."""
    return json.dumps(value, indent=indent)
