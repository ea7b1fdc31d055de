"""The digest that binds a permit to the arguments it was asked for.

It is the SHA-256 of the arguments as JSON in one spelling: keys sorted by code point, no spaces, everything
beyond ASCII escaped, integers in full, floats as Python writes them (`1.0` is not `1`). Strings, integers,
finite floats, booleans, None, lists, tuples (as lists) and mappings with string keys have such a spelling.
Nothing else does: bytes, dates and objects are refused, because two libraries would spell them differently.
Pass their text, or a hash of them, instead.
"""

import hashlib
import json
import math
from collections.abc import Mapping

from countermand._errors import InvalidRequest


def digest(args: Mapping[str, object] | None = None) -> bytes:
    """Answer the SHA-256 of an action's arguments; none at all and an empty mapping are the same."""
    return hashlib.sha256(spelling(args).encode()).digest()


def spelling(args: Mapping[str, object] | None = None) -> str:
    """Answer arguments as JSON in their one spelling."""
    told = plain(args)
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def plain(args: Mapping[str, object] | None = None, name: str = "args") -> object:
    """Check arguments, all the way down, and answer them as the types json knows."""
    try:
        return _plain(args if args is not None else {}, name)
    except RecursionError:
        raise _refused(name, "is nested too deeply, or holds itself") from None


def _plain(value: object, where: str) -> object:
    if value is None or isinstance(value, str | int):  # bool is an int
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(where, f"is {value}, which JSON cannot say")
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise _refused(where, f"is of type {type(value).__qualname__}; pass its text or a hash of it")


def _key(key: object, where: str) -> str:
    if isinstance(key, str):
        return key
    raise _refused(where, f"has a key of type {type(key).__qualname__}; keys must be strings")


def _refused(where: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{where} {rule}", metadata={"field": where, "rule": rule})
