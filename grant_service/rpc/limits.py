"""What a request may say: every field is checked here, once, before anything is decided."""

import json
import re
import unicodedata
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from grant_service.core.budget import MAX_AMOUNT
from grant_service.core.errors import ErrorReason, Refused
from grant_service.log import without_tokens

#: The longest texts, in characters. They keep an error's metadata within gRPC's 8 KiB, and a report readable.
MAX_NAME = 128
MAX_NOTE = 300
MAX_LABELS = 16

#: The longest amendment, in bytes.
MAX_AMENDMENT = 4096

#: The highest sequence number: what every store and every JSON reader can hold.
MAX_SEQ = 2**53 - 1

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def invalid(field: str, rule: str) -> Refused:
    """Refuse a request for a field that breaks a rule."""
    return Refused(ErrorReason.INVALID_REQUEST, field=field, rule=rule)


def id_fault(value: str) -> str | None:
    """Say why this is no id, and no name of a function, or None if it is one."""
    if not _ID.fullmatch(value):
        return "must have 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or digit"
    return None


def identifier(field: str, value: str) -> str:
    """Take an id."""
    if fault := id_fault(value):
        raise invalid(field, fault)
    return value


def optional_identifier(field: str, value: str) -> str:
    """Take an id, or ''."""
    return identifier(field, value) if value else ""


def text(field: str, value: str, limit: int = MAX_NAME) -> str:
    """Take one line of text: no control characters, so that it cannot forge lines in a log or a terminal."""
    if len(value) > limit:
        raise invalid(field, f"must have at most {limit} characters")
    if not all(map(_is_plain, value)):
        raise invalid(field, "must be one line without control or invisible characters")
    return value


def cleaned(value: str, limit: int = MAX_NAME) -> str:
    """Take what can be taken of a text, for a call that no text may stop: plain, no token, cut to length."""
    plain = "".join(letter if _is_plain(letter) else " " for letter in value)
    return without_tokens(plain)[:limit]


def _is_plain(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Zl", "Zp", "Cs")


def labels(field: str, value: Mapping[str, str]) -> dict[str, str]:
    """Take a few labels."""
    if len(value) > MAX_LABELS:
        raise invalid(field, f"must have at most {MAX_LABELS} labels")
    return {identifier(f"{field} name", name): text(f"{field}.{name}", told) for name, told in value.items()}


def amount(field: str, value: int, least: int = 1) -> int:
    """Take an amount of a budget."""
    if not least <= value <= MAX_AMOUNT:
        raise invalid(field, f"must be {least} to {MAX_AMOUNT}")
    return value


def json_object(field: str, value: str) -> str:
    """Take a short JSON object as it is written, in one line."""
    if len(value.encode("utf-8", "surrogatepass")) > MAX_AMENDMENT:
        raise invalid(field, f"must have at most {MAX_AMENDMENT} bytes")
    text(field, value, MAX_AMENDMENT)
    try:
        told = json.loads(value, object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise invalid(field, "must be a JSON object without repeated names")
    if without_tokens(value) != value:
        raise invalid(field, "must not hold a grant token")
    return value


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that comes twice: who reads it and who acts on it could take different ones."""
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name is repeated")
    return names


def _no_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def digest(field: str, value: bytes) -> str:
    """Take a SHA-256."""
    if len(value) != 32:
        raise invalid(field, "must be the 32 bytes of a SHA-256")
    return value.hex()


def milliseconds(field: str, request: Message, default_s: float, longest_s: float) -> int:
    """Take the duration `field` of a message, or its default; it must be positive and not too long."""
    if not request.HasField(field):
        return round(default_s * 1000)
    told: Duration = getattr(request, field)
    nanoseconds = told.seconds * 10**9 + told.nanos
    if not 0 <= told.nanos < 10**9 or not 10**6 <= nanoseconds <= longest_s * 10**9:
        raise invalid(field, f"must be at least 0.001 s and at most {longest_s:.15g} s")
    return nanoseconds // 10**6


def sequence(field: str, value: int) -> int:
    """Take a sequence number, or 0."""
    if not 0 <= value <= MAX_SEQ:
        raise invalid(field, "must come from an earlier answer")
    return value
