"""The tools file: what it says holds, whoever calls; and what is wrong with it is said in one line."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from grant_service.__main__ import main
from grant_service.core.scope import Reversibility
from grant_service.settings import Settings
from grant_service.store.memory import MemoryStore
from grant_service.tools_file import ToolsUnfit, read_tools
from tests.rpc.support import Served, intent, served
from tests.rpc.undoing import ALL, claim, held, reported, settled

ROOT = Path(__file__).resolve().parents[2]

FILE = """
[tools."email.send"]
reversibility = "COMPENSABLE"
compensation = "email.recall"
canceller = "job.stop"
probe = "email.sent"

[tools."email.read"]
reversibility = "READ_ONLY"
"""


def written(directory: Path, content: str | bytes = FILE) -> Path:
    """A tools file."""
    path = directory / "tools.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    return path


@pytest.fixture
async def ready(tmp_path: Path) -> AsyncIterator[tuple[Served, str]]:
    """A sidecar with registered tools, and the token of a grant that allows all."""
    async with served(tools=str(written(tmp_path))) as running:
        yield running, await running.grant()


async def mismatch(running: Served, method: str, **fields: Any) -> tuple[str, str]:
    """The field and the rule of a refusal for what is registered; it must leave no trace in the store."""
    before = running.store.state.seq
    refused = await running.tool.refused(method, **fields)
    assert refused.reason == "TOOL_MISMATCH"
    assert refused.metadata["action"] in refused.message
    assert running.store.state.seq == before
    return refused.metadata["field"], refused.metadata["rule"]


@pytest.mark.parametrize("method", ["PrepareAction", "PerformAction"])
async def test_what_a_call_leaves_unset_is_filled_in(ready: tuple[Served, str], method: str) -> None:
    """The compensator gets what the file says, with the arguments that only the call knows."""
    running, token = ready
    wanted = intent("o-1", compensation_args='{"id":7}')
    await running.tool(method, grant_token=token, intent=wanted)
    if method == "PrepareAction":
        await running.tool("CommitAction", grant_token=token, op_id="o-1", digest=wanted["digest"])
    await settled(running, token, "o-1", handle="job-7")
    await running.cancel()
    await running.operator("UndoRun", run_id="r-1")
    call_off = await claim(running)
    assert (call_off.name, call_off.handle) == ("job.stop", "job-7")
    await running.compensator("CompleteDuty", **held(call_off))
    undo = await claim(running)
    assert (undo.name, undo.args) == ("email.recall", '{"id":7}')
    found = (await reported(running, "o-1")).undo
    assert found.reversibility == action_pb.REVERSIBILITY_COMPENSABLE


async def test_a_probe_is_filled_in_too(ready: tuple[Served, str]) -> None:
    """Who asks what became of a silent tool is not the tool's choice either."""
    running, token = ready
    await running.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    running.clock.advance(6)
    assert (await claim(running)).name == "email.sent"


@pytest.mark.parametrize("method", ["PrepareAction", "PerformAction"])
@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"compensation": "email.delete-all"}, "compensation"),
        ({"probe": "email.always-sent"}, "probe"),
        ({"reversibility": 1}, "reversibility"),
        ({"reversibility": 4}, "reversibility"),
        ({"action": "email.read", "compensation": "email.recall"}, "compensation"),
    ],
)
async def test_no_call_chooses_what_undoes_it(
    ready: tuple[Served, str], logs: list[dict[str, Any]], method: str, said: dict[str, Any], field: str
) -> None:
    """A hijacked agent that names another function is refused, and that is an alarm."""
    running, token = ready
    assert (await mismatch(running, method, grant_token=token, intent=intent("o-1", **said)))[0] == field
    assert [one["log_level"] for one in logs if one.get("reason") == "TOOL_MISMATCH"] == ["warning"]


async def test_arguments_need_a_compensation_that_is_registered(ready: tuple[Served, str]) -> None:
    """There is nothing to call with them."""
    running, token = ready
    wanted = intent("o-1", "email.read", compensation_args="{}")
    refused = await running.tool.refused("PrepareAction", grant_token=token, intent=wanted)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "intent.compensation_args")


async def test_no_outcome_chooses_who_calls_it_off(ready: tuple[Served, str]) -> None:
    """The registered canceller, or none at all; the outcome is heard all the same, and the job told of."""
    running, token = ready
    told = {"grant_token": token, "outcome": 1, "handle": "job-7"}
    for op_id, action in (("o-1", "email.send"), ("o-2", "email.read")):
        await running.tool("PerformAction", grant_token=token, intent=intent(op_id, action))
    for op_id, said, why in (
        ("o-1", "job.start", "canceller job.start is not registered for email.send"),
        ("o-2", "job.stop", "canceller job.stop is not registered for email.read"),
        ("o-2", "", "no canceller is registered for email.read"),
    ):
        answer = await running.tool("SettleAction", **told, op_id=op_id, canceller=said)
        assert answer.why_not_called_off == why
        found = await reported(running, op_id)
        assert found.state == action_pb.ACTION_STATE_SUCCEEDED
        assert (found.call_off.handle, found.call_off.canceller) == ("job-7", "")
        assert found.call_off.state == journal_pb.CALL_OFF_STATE_IMPOSSIBLE
    await running.cancel()
    assert await claim(running, cancellers=["job.start", "job.stop"]) is None
    answer = await running.tool("SettleAction", **told, op_id="o-1")
    assert answer.why_not_called_off == ""
    assert (await reported(running, "o-1")).call_off.canceller == "job.stop"
    assert (await claim(running)).name == "job.stop"


async def test_settling_what_is_not_there_is_refused_as_ever(ready: tuple[Served, str]) -> None:
    """Neither another grant's action nor its name is told to whoever may not see it."""
    running, token = ready
    await running.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    other = await running.grant_for("r-1")
    told = {"outcome": 1, "handle": "job-7", "canceller": "job.start"}
    for op_id, given, reason in (("o-9", token, "ACTION_UNKNOWN"), ("o-1", other, "WRONG_GRANT")):
        refused = await running.tool.refused("SettleAction", grant_token=given, op_id=op_id, **told)
        assert refused.reason == reason
    assert (await reported(running, "o-1")).state == action_pb.ACTION_STATE_PERMITTED


async def test_an_outcome_that_overtakes_its_action_brings_no_canceller_of_its_own(tmp_path: Path) -> None:
    """Settle is sent before perform is answered, to be looked at while there is no action yet."""

    class Overtaken(MemoryStore):
        async def actions(self, ids: Any) -> Any:
            seen = await super().actions(ids)
            if seen == [None]:
                await perform()
            return seen

    async with served(Overtaken(), tools=str(written(tmp_path))) as running:
        token = await running.grant()

        async def perform() -> None:
            await running.tool("PerformAction", grant_token=token, intent=intent("o-1"))

        told = {"grant_token": token, "op_id": "o-1", "outcome": 1, "handle": "job-7"}
        await running.tool("SettleAction", **told, canceller="job.start")
        call_off = (await reported(running, "o-1")).call_off
        assert (call_off.handle, call_off.canceller) == ("job-7", "")
        assert call_off.note == "its outcome came before its action was on record: say it again"
        await running.tool("SettleAction", **told)
        assert (await reported(running, "o-1")).call_off.canceller == "job.stop"


async def test_an_action_that_is_not_registered_is_as_it_says_or_refused(tmp_path: Path) -> None:
    """With `tools_only` nothing acts that nobody has registered."""
    free = {"reversibility": 2, "compensation": "file.restore", "probe": "file.there"}
    path = str(written(tmp_path))
    async with served(tools=path) as running:
        token = await running.grant()
        wanted = intent("o-1", "file.delete", **free)
        await running.tool("PerformAction", grant_token=token, intent=wanted)
        told = {"grant_token": token, "op_id": "o-1", "outcome": 1, "handle": "job-7"}
        answer = await running.tool("SettleAction", **told)
        assert answer.why_not_called_off == "its tool named nobody who could"
        await settled(running, token, "o-1", handle="job-7", canceller="file.stop")
    async with served(tools=path, tools_only=True) as running:
        token = await running.grant()
        for method in ("PrepareAction", "PerformAction"):
            told = await mismatch(running, method, grant_token=token, intent=wanted)
            assert told == ("action", "must be in the tools file")
        await running.tool("PerformAction", grant_token=token, intent=intent("o-2"))


async def test_without_a_file_calls_say_it_all(sidecar: Served) -> None:
    """As in a first hour; nothing is checked and nothing filled in."""
    token = await sidecar.grant()
    wanted = intent("o-1", reversibility=3, compensation="anything")
    await sidecar.tool("PerformAction", grant_token=token, intent=wanted)
    await settled(sidecar, token, "o-1")
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    assert await claim(sidecar, "", **ALL) is None
    assert (await claim(sidecar, compensations=["anything"])).name == "anything"


KEYS = "the keys are reversibility, compensation, canceller, probe"
CLASSES = "one of READ_ONLY, REVERSIBLE, COMPENSABLE, IRREVERSIBLE"
ID = "must have 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or digit"

BAD: dict[str, tuple[str | bytes, str]] = {
    "no-toml": ("[tools", "Expected ']' at the end of a table declaration (at end of document)"),
    "empty": ("", 'must hold a table for each action, such as [tools."email.send"]'),
    "no-table": ("tools = 3", 'must hold a table for each action, such as [tools."email.send"]'),
    "other-table": ('[tool."a"]\n', 'tool is unknown here; every table is [tools."ACTION"]'),
    "other-key": ("strict = true\n" + FILE, 'strict is unknown here; every table is [tools."ACTION"]'),
    "no-class": ('[tools."a"]\n', f'[tools."a"]: reversibility must be given: {CLASSES}'),
    "bad-class": (
        '[tools."a"]\nreversibility = "compensable"',
        f'[tools."a"]: reversibility must be {CLASSES}',
    ),
    "typo": (
        '[tools."a"]\nreversibility = "READ_ONLY"\ncompensate = "b"',
        f'[tools."a"]: compensate is unknown; {KEYS}',
    ),
    "not-text": ('[tools."a"]\nreversibility = 3', '[tools."a"]: reversibility must be a text in quotes'),
    "bad-name": ('[tools."a"]\nprobe = "rm -rf"', f'[tools."a"]: probe {ID}'),
    "empty-name": ('[tools."a"]\ncompensation = ""', f'[tools."a"]: compensation {ID}'),
    "pattern": (
        '[tools."email.*"]\nreversibility = "READ_ONLY"',
        '[tools."email.*"]: the name must be lower-case segments of a-z, 0-9, _ and -, joined by dots, '
        "such as email.send",
    ),
    "unquoted": (
        '[tools.email.send]\nreversibility = "READ_ONLY"',
        '[tools."email"]: send is a table; write the action in quotes: [tools."email.send"]',
    ),
    "not-a-table": ('[tools]\n"a" = "READ_ONLY"', '[tools."a"] must be a table'),
    "no-undo": (
        '[tools."a"]\nreversibility = "IRREVERSIBLE"\ncompensation = "b"',
        '[tools."a"]: compensation must be left out of what is IRREVERSIBLE: it is irreversible',
    ),
    "twice": ('[tools."a"]\n[tools."a"]', "Cannot declare ('tools', 'a') twice (at line 2, column 11)"),
    "not-utf-8": (
        b"\xff",
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
    "large": ("#" * ((1 << 20) + 1), "must be a plain file of at most 1048576 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_with_table_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """The sidecar does not start, and makes nothing."""
    content, said = BAD[case]
    path, home = written(tmp_path, content), tmp_path / "home"
    assert main(["--home", str(home), "--tools", str(path)]) == 1
    assert capsys.readouterr().err == f"countermand serve: {path}: {said}\n"
    assert not home.exists()


def refused(path: Path, **settings: Any) -> str:
    """Why a file is not read."""
    with pytest.raises(ToolsUnfit) as caught:
        read_tools(Settings(tools=str(path), **settings))
    return str(caught.value)


def test_a_file_that_others_could_change_or_that_is_none_is_refused(tmp_path: Path) -> None:
    """Whoever can write it can say what undoes what."""
    path = written(tmp_path)
    for mode in (0o620, 0o602, 0o666):
        path.chmod(mode)
        assert refused(path) == f"{path}: can be changed by others; run: chmod go-w {path}"
    path.chmod(0o644)
    assert read_tools(Settings(tools=str(path))).registered.keys() == {"email.send", "email.read"}
    assert refused(tmp_path / "none") == (
        f"{tmp_path / 'none'} cannot be read (No such file or directory); see COUNTERMAND_TOOLS"
    )
    assert "must be a plain file" in refused(tmp_path) or "Is a directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "must be a plain file" in refused(tmp_path / "pipe")


def test_only_registered_tools_without_any_is_a_mistake() -> None:
    """It would refuse everything, or, misread, nothing."""
    with pytest.raises(ToolsUnfit, match="COUNTERMAND_TOOLS_ONLY needs a tools file"):
        read_tools(Settings(tools_only=True))


def test_the_file_that_comes_along_is_a_good_one(tmp_path: Path) -> None:
    """deploy/tools.toml: an example of each class."""
    path = written(tmp_path, (ROOT / "deploy" / "tools.toml").read_bytes())
    found = read_tools(Settings(tools=str(path))).registered
    assert {tool.reversibility for tool in found.values()} == set(Reversibility)
