"""The page of a queue in the guide shows what happens: its programs are run as they are, on another Redis."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, page
from tests.queues.support.worker import Worker


class ShownOnPage:
    """The programs of a page, in a folder of their own."""

    def __init__(self, name: str, folder: Path, addresses: dict[str, str]) -> None:
        blocks = page(f"docs/guide/{name}.md").blocks
        self.folder, self._expected = folder, next(one.text for one in blocks if one.info == "output")
        folder.mkdir()
        for block in blocks:
            if not block.info.startswith("python"):
                continue
            text = block.text
            for shown, ours in addresses.items():
                text = text.replace(shown, ours)
            assert "localhost" not in text, "the page names an address that the test does not replace"
            (folder / re.findall(r"# (\w+\.py)", text)[0]).write_text(text)

    def environment(self, home: Path) -> dict[str, str]:
        """Where programs find the sidecar and each other."""
        return {"COUNTERMAND_HOME": str(home), "PYTHONPATH": f"{self.folder}:{ROOT / 'client'}"}

    def worker(self, command: list[str], home: Path) -> Worker:
        """The page's own worker."""
        return Worker(command, self.environment(home), self.folder / "worker.log")

    def says_so(self, home: Path) -> str:
        """Run what asks, and what calls off; answer what is not as the page says, '' if nothing is."""
        told = self._run("ask.py", home)
        pattern = re.escape(self._expected).replace(re.escape("..."), ".*")
        self._run("cancellers.py", home)
        return "" if re.fullmatch(pattern, told) else told

    def _run(self, program: str, home: Path) -> str:
        done = subprocess.run(
            [sys.executable, program],
            cwd=self.folder,
            env={**os.environ, **self.environment(home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
