"""What is at work for a run, as its processes say: once, and until it is over."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import countermand
import countermand.sync
from countermand.cli.exit_codes import ExitCode
from countermand.testing import Sidecar
from tests.cli.support import Shell
from tests.client.support import Soon


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermand.work.showing._EVERY", 0.05)
    monkeypatch.setattr("countermand.cli.watching._LOOK_EVERY", 0.05)


async def until(look: Callable[[str], Awaitable[countermand.RunWork]], run: str) -> None:
    """Look until there is something."""
    ends = time.monotonic() + 10
    while not (await look(run)).works:
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


@contextmanager
def at_work(real: Sidecar) -> Iterator[threading.Event]:
    """An agent with two pieces of work, in a thread of its own, until its run is cancelled."""
    shown, ended = threading.Event(), threading.Event()

    async def agent() -> None:
        async with countermand.connect(real.home) as cm, countermand.connect(real.home) as other:
            await cm.issuer.open(run_id="r-1", agent="mailer")
            token = (await cm.issuer.issue("r-1", scopes=["*"])).token
            try:
                async with countermand.scope("agent", source=cm.use_token(token)) as scope:
                    scope.spawn(asyncio.Event().wait, name="think", kind="llm")
                    async with countermand.scope("tools") as tools:
                        tools.spawn(asyncio.Event().wait, name="se\narch", kind="tool")
                        await until(other.auditor.work, "r-1")
                        shown.set()
                        await asyncio.Event().wait()
            except countermand.Stopped:
                ended.set()

    thread = threading.Thread(target=lambda: asyncio.run(agent()))
    thread.start()
    assert shown.wait(10)
    try:
        yield ended
    finally:
        with real.connect_sync() as cm:
            cm.operator.cancel("r-1", reason="USER_STOP")
        thread.join(10)
        assert ended.is_set()


def test_a_look_shows_the_tree(real: Sidecar, shell: Shell) -> None:
    """Names, kinds and states, each below what owns it; nothing of a name can forge a line."""
    with at_work(real):
        lines = shell("watch", "r-1", "--once").out.splitlines()
        document = shell.json("watch", "r-1", "--once")
    assert lines[0] == "Run r-1 is active; one process shows work for it."
    tree = [line.strip().split(" ")[0] for line in lines[2:]]
    assert tree == ["agent", "body", "tools", "body", "se", "think"]
    assert "se arch (tool) RUNNING" in "\n".join(lines)
    assert document["schema"] == "countermand.work/v1"
    [root] = document["works"][0]["roots"]
    assert (root["kind"], [child["kind"] for child in root["children"]]) == ("scope", ["body", "llm"])


def test_a_scope_of_code_that_blocks_is_shown_too(real: Sidecar, shell: Shell) -> None:
    """Its threads, and those of the scopes within, until it is closed; nothing of it is left then."""
    over = threading.Event()
    with real.connect_sync() as cm, cm.open_run(agent="mailer", run_id="r-1") as run:
        with countermand.sync.scope("agent", source=run) as scope, countermand.sync.scope("tools") as tools:
            scope.spawn(lambda _: over.wait(10), name="think", kind="llm")
            tools.spawn(lambda _: over.wait(10), name="search", kind="tool")
            Soon.until(lambda: bool(cm.auditor.work("r-1").works), 10)
            lines = shell("watch", "r-1", "--once").out.splitlines()
            over.set()
        Soon.until(lambda: not cm.auditor.work("r-1").works, 10)
    assert lines[0] == "Run r-1 is active; one process shows work for it."
    assert [line.strip().rpartition(" ")[0] for line in lines[2:]] == [
        "agent (scope) RUNNING",
        "think (llm) RUNNING",
        "tools (scope) RUNNING",
        "search (tool) RUNNING",
    ]
    assert not [one for one in threading.enumerate() if one.name == "countermand showing"]


def test_it_watches_until_it_is_over(real: Sidecar, shell: Shell) -> None:
    """A document at each change, the last one when the run has ended and nothing is left."""
    program = str(Path(sys.executable).parent / "countermand")
    with at_work(real):
        watching = subprocess.Popen(
            [program, "watch", "r-1", "--output", "jsonl"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        first = watching.stdout.readline()
    out, err = watching.communicate(timeout=20)
    last = json.loads(out.splitlines()[-1])
    assert (json.loads(first)["state"], len(json.loads(first)["works"])) == ("ACTIVE", 1)
    assert (last["state"], last["works"], last["end"]["reason"]) == ("CANCELLED", [], "USER_STOP")
    assert watching.returncode == ExitCode.OK
    assert "nothing that is shown is at work for it any more" in err


def test_where_nothing_is_shown_that_is_said(granted: Shell) -> None:
    """It is no proof that nothing is at work."""
    assert granted("watch", "r-1", "--once").out == "Run r-1 is active; no process shows work for it.\n"
    granted("cancel", "r-1", "--reason", "user_stop")
    done = granted("watch", "r-1")
    assert done.code == ExitCode.OK
    assert "Run r-1 is cancelled (USER_STOP by ada (operator))" in done.err


def test_an_unknown_run_is_refused(real: Sidecar, shell: Shell) -> None:
    """A misspelt name is no run without work."""
    assert shell("watch", "r-9").code == ExitCode.FIX_THE_CALL
