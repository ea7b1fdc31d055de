"""docs/guide/http.md shows code that runs, and says what the adapters have."""

import pytest

from countermand.testing import Sidecar
from tests.docs.pages import Block, code, page
from tests.integrations.http.target import Target

PAGE = page("docs/guide/http.md")
PAIRS = [
    (block, after)
    for block, after in zip(PAGE.blocks, PAGE.blocks[1:], strict=False)
    if block.language == "python"
]


@pytest.mark.parametrize(("block", "shown"), PAIRS, ids=lambda block: str(block.line))
def test_the_page_does_what_it_says(
    block: Block,
    shown: Block,
    real: Sidecar,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each block says what is shown behind it, when the target is one on loopback."""
    monkeypatch.setenv("COUNTERMAND_HOME", str(real.home))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    text = block.text.replace("https://api.example.com", target.url).replace('"https://"', '"http://"')
    exec(compile(text, str(block), "exec"), {"__name__": "page"})  # noqa: S102 - it is our own page
    assert shown.info == "text"
    assert capsys.readouterr().out == shown.text


def test_the_grades_are_those_of_the_table_of_all_seams() -> None:
    """One page speaks for all five."""
    here = {code(row[0]): row[1] for row in PAGE.table("Seam")}
    all_seams = {code(row[0]): row for row in page("docs/guide/conformance.md").table("Seam")}
    assert here == {name: row[1] for name, row in all_seams.items() if "(http.md)" in row[2]}
    assert len(here) == 5
