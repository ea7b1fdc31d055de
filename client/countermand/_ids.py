"""Names for new runs, grants and actions."""

import base64
import secrets


def new_id(kind: str) -> str:
    """Answer a name nobody has used, with 100 random bits: kind `r` for a run, `g` a grant, `o` an action."""
    return f"{kind}-{base64.b32encode(secrets.token_bytes(13)).decode().lower()[:20]}"
