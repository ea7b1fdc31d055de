"""The test vector of docs/evidence.md, as data: whoever writes another verifier can check it by this."""

import json
import re
from typing import Any

from tests.docs.pages import page


def vector() -> dict[str, Any]:
    """Read the vector from the page."""
    (block,) = [block for block in page("docs/evidence.md").blocks if block.info == "json"]
    told: dict[str, Any] = json.loads(block.text)
    return told


def canonical_lines() -> list[str]:
    """Read the canonical spellings of its entries from the page."""
    (block,) = [
        one for one in page("docs/evidence.md").blocks if one.info == "text" and '"seq":4,' in one.text
    ]
    return re.findall(r"^\{.*\}$", block.text, re.MULTILINE)
