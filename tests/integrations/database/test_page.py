"""docs/guide/sqlalchemy.md shows programs that run, and say what the page says."""

from itertools import pairwise
from pathlib import Path

import pytest

from countermand.testing import Sidecar
from tests.docs.pages import Block, page
from tests.docs.test_pages_run import matches

BLOCKS = page("docs/guide/sqlalchemy.md").blocks
PROGRAMS = [pair for pair in pairwise(BLOCKS) if pair[0].language == "python"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a program that ends leaves its engine to the end
@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=lambda block: str(block))
def test_a_program_says_what_the_page_shows(
    program: Block,
    output: Block,
    real: Sidecar,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERMAND_HOME", str(real.home))
    exec(compile(program.text, program.page, "exec"), {"__name__": "page"})  # noqa: S102 - it is our own page
    assert output.language == "output"
    assert matches(output.text, capsys.readouterr().out)
