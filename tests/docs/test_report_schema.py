"""docs/report.schema.json, docs/report.md and the code name the same fields of a report, and no others."""

from dataclasses import fields
from enum import StrEnum
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import countermand
from countermand.cli import report_words
from tests.docs.pages import code, page
from tests.support.report_schema import SCHEMA

DEFS: dict[str, Any] = {name: one for name, one in SCHEMA["$defs"].items() if name != "time"}
OBJECTS = {"report": SCHEMA, **DEFS}

#: What the document has beside the report's own fields, and what a sidecar may leave out.
ADDED = {"schema", "counts", "cancel"}
OPTIONAL = {"heads", "at_seq", "cancel"}

MODELS = {
    "report": countermand.Report,
    "run": countermand.Run,
    "end": countermand.End,
    "budget": countermand.BudgetStanding,
    "action": countermand.ReportedAction,
    "undo": countermand.Undo,
    "call_off": countermand.CallOff,
    "late_attempt": countermand.LateAttempt,
    "fence": countermand.Fence,
    "selector": countermand.Selector,
}

#: The enums, by the fields that hold one.
WORDS: dict[tuple[str, str], type[StrEnum]] = {
    ("report", "durability"): countermand.Durability,
    ("run", "state"): countermand.RunState,
    ("end", "reason"): countermand.StopReason,
    ("budget", "on_exhausted"): countermand.Exhaustion,
    ("action", "state"): countermand.ActionState,
    ("undo", "reversibility"): countermand.Reversibility,
    ("call_off", "state"): countermand.CallOffState,
    ("late_attempt", "reason"): countermand.ErrorReason,
    ("late_attempt", "prior_decision"): countermand.ActionState,
    ("fence", "kind"): countermand.FenceKind,
    ("fence", "reason"): countermand.StopReason,
    ("fence", "state"): countermand.FenceState,
}


def test_the_schema_is_one() -> None:
    """Of the draft it names."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("/draft/2020-12/schema")


@pytest.mark.parametrize("name", MODELS)
def test_schema_and_code_name_the_same_fields(name: str) -> None:
    """Each field that is printed is described, and each that is described is printed."""
    told = {one.name for one in fields(MODELS[name])}
    if name == "report":
        told |= ADDED | OPTIONAL
    assert set(OBJECTS[name]["properties"]) == told


def test_counts_are_named_as_they_are_printed() -> None:
    """Those of each part, and of what can be undone."""
    empty = dict.fromkeys((*report_words.ACTIONS, "late_attempts"), ())
    nothing: Any = type("Nothing", (), empty | {"late_attempt_count": 0})
    assert set(DEFS["counts"]["properties"]) == set(report_words.counts(nothing))


@pytest.mark.parametrize("name", OBJECTS)
def test_nothing_is_left_open(name: str) -> None:
    """No field more, and none less but those that a sidecar or a verb leaves out; each is described."""
    one = OBJECTS[name]
    assert one["additionalProperties"] is False
    may_lack = OPTIONAL if name == "report" else set()
    assert set(one["required"]) == set(one["properties"]) - may_lack
    assert all(told["description"].endswith(".") for told in [one, *one["properties"].values()])


@pytest.mark.parametrize(("name", "field"), WORDS)
def test_schema_and_code_have_the_same_words(name: str, field: str) -> None:
    """Each member of an enum."""
    assert set(OBJECTS[name]["properties"][field]["enum"]) - {None} == set(WORDS[name, field])


def test_no_enum_is_left_out_of_these_tests() -> None:
    """A field that takes one of some words is compared with the words of the code."""
    found = {
        (name, field)
        for name, one in OBJECTS.items()
        for field, told in one["properties"].items()
        if "enum" in told
    }
    assert found == {*WORDS, ("late_attempt", "verb")}


@pytest.mark.parametrize("name", OBJECTS)
def test_the_page_describes_each_field_as_the_schema_does(name: str) -> None:
    """In the same words, and in the same order."""
    heading = "Its fields" if name == "report" else name.replace("_", " ").capitalize()
    section = page("docs/report.md").under(heading).split("\n### ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    listed = {code(row[0]): row[1].strip() for row in rows}
    told = {field: one["description"] for field, one in OBJECTS[name]["properties"].items()}
    assert list(listed.items()) == list(told.items())
    if name != "report":
        assert OBJECTS[name]["description"] in section
