"""Names for new runs, grants and actions."""

import base64
import secrets
from collections.abc import Iterable

from countermand._errors import InvalidRequest


def new_id(kind: str) -> str:
    """Answer a name nobody has used, with 100 random bits: kind `r` for a run, `g` a grant, `o` an action."""
    return f"{kind}-{base64.b32encode(secrets.token_bytes(13)).decode().lower()[:20]}"


def ids_of(ids: Iterable[str]) -> list[str]:
    """Take ids in a list. One alone is a text, and a sequence of letters: it is not taken for one."""
    if isinstance(ids, str):
        rule = "must come in a list, even if there is only one"
        raise InvalidRequest(f"op_ids {rule}; not {ids!r}", metadata={"field": "op_ids", "rule": rule})
    return list(ids)
