"""The published schema of a report, and the check of a document against it."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "report.schema.json").read_text("utf-8")
)

_VALIDATOR = Draft202012Validator(SCHEMA)


def faults(document: Any) -> list[str]:
    """Say what in a document is not as the schema has it."""
    return [f"{error.json_path}: {error.message}" for error in _VALIDATOR.iter_errors(document)]
