"""An adapter that is not in the suite does not ship."""

import ast
from collections.abc import Iterator

from tests.docs.pages import ROOT, code, page

INTEGRATIONS = ROOT / "client/countermand/integrations"
#: These let no effect out of the process: one hears of disconnects, the other counts.
NO_SEAMS = {"asgi", "prometheus"}


def seams() -> list[str]:
    """The integrations through which effects leave a process, modules and packages alike."""
    found = {path.stem for path in INTEGRATIONS.iterdir() if not path.name.startswith("_")}
    return sorted(found - NO_SEAMS)


def conformance_classes(name: str) -> Iterator[str]:
    """The classes that run the suite, in the tests that are named after an integration."""
    for path in ROOT.glob(f"tests/**/test_{name}*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and "Conformance" in map(ast.unparse, node.bases):
                yield node.name


def test_every_seam_is_in_the_suite_and_in_the_table() -> None:
    """It has a conformance test of its name, a page, and a row that says how close it asks."""
    assert [fault for name in seams() if (fault := fault_of(name))] == []


def fault_of(name: str) -> str:
    """Say what an integration lacks, or ''."""
    if not [*conformance_classes(name)]:
        return f"{name}: no class in tests/**/test_{name}*.py derives from Conformance"
    module = f"countermand.integrations.{name}"
    rows = {code(row[0]): row for row in page("docs/guide/conformance.md").table("Seam")}
    _, grade, link = rows.get(module, (module, "?", ""))
    if grade[0] not in "ABC":
        return f"{name}: no row with its grade in docs/guide/conformance.md"
    path = ROOT / "docs/guide" / link.partition("(")[2].rstrip(")")
    if not path.is_file() or module not in path.read_text("utf-8"):
        return f"{name}: its row leads to no page that is about {module}"
    return ""


def test_a_seam_without_a_test_would_be_seen() -> None:
    """What is asked of the tests finds the class that is there, and none where there is none."""
    assert "TestTool" in conformance_classes("own_seams")
    assert fault_of("defects").startswith("defects: no class")
    assert fault_of("own_seams").startswith("own_seams: no row")
