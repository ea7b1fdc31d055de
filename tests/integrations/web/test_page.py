"""docs/guide/requests.md shows code that runs: the example's own, and an application that is served here."""

import asyncio
import time
from typing import Any

import pytest

import countermand
from countermand.testing import Sidecar
from tests.docs.pages import ROOT, page
from tests.integrations.web.servers import hang_up, serving
from tests.integrations.web.test_gateway import until

WHOLE, PART = (
    block.text for block in page("docs/guide/requests.md").blocks if block.info.startswith("python not-run")
)


def test_the_page_shows_the_example_as_it_is() -> None:
    """Not a line of it differs."""
    assert PART in (ROOT / "examples/openai_gateway/app.py").read_text("utf-8")


@pytest.mark.usefixtures("quiet")
def test_the_application_of_the_page_stops(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hangs up on it ends its run."""
    monkeypatch.setenv("COUNTERMAND_HOME", str(real.home))
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(WHOLE, "docs/guide/requests.md", "exec"), names)  # noqa: S102 - it is our own page

    async def ends() -> list[str]:
        async with countermand.connect(real.home) as cm:
            runs = [run for run in (await cm.auditor.runs()).runs if run.agent == "helper"]
        return [str(run.end.reason) if run.end else "" for run in runs]

    with serving(names["app"], "uvicorn-h11") as served:
        line = served.post("/ask", "what?")
        until(lambda: asyncio.run(ends()) == [""])
        time.sleep(0.1)
        hang_up(line)
        until(lambda: asyncio.run(ends()) == ["CLIENT_DISCONNECTED"], 2.0)
