"""Every verb: what it prints for programs, and that it refuses in one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell, after_each, ctrl_c, one_line

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def times(value: Any, name: str = "") -> list[str]:
    """Every value in a document whose name ends in `time`."""
    if isinstance(value, dict):
        return [found for key, part in value.items() for found in times(part, key)]
    if isinstance(value, list):
        return [found for part in value for found in times(part, name)]
    return [value] if name.endswith("time") and value is not None else []


def names(value: Any) -> set[str]:
    """Every field name in a document."""
    if isinstance(value, dict):
        return {*value} | {name for part in value.values() for name in names(part)}
    return {name for part in value for name in names(part)} if isinstance(value, list) else set()


def test_every_document_has_a_schema_and_one_style(granted: Shell) -> None:
    """Schema, snake_case, RFC 3339, upper-case words: in the answer of every verb."""
    documents = {
        "opened": granted.json("open", "--run", "r-2"),
        "issued": granted.json("issue", "r-2", "--scope", "email.* mailto:*@example.com uses=2"),
        "prepared": granted.json("prepare", "a.b", "--op", "o-1", "--grant", "g-1"),
        "permit": granted.json("commit", "o-1", "--grant", "g-1"),
        "settled": granted.json("settle", "o-1", "--failed", "--grant", "g-1"),
        "abandoned": granted.json("abandon", _prepared(granted), "--grant", "g-1"),
        "finished": granted.json("finish", "r-2"),
        "report": granted.json("cancel", "r-1", "--reason", "policy"),
        "runs": granted.json("runs"),
        "journal": granted.json("journal", "r-1"),
        "doctor": granted.json("doctor"),
        "version": granted.json("version"),
    }
    for schema, document in documents.items():
        assert document["schema"] == f"countermand.{schema}/v1"
        assert not [name for name in names(document) if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]
        assert not [told for told in times(document) if not _RFC3339.fullmatch(told) and not told.isdigit()]
        assert not [one for one in json.dumps(document).split('"') if one.startswith("eyJ")], "a token"
    assert documents["opened"]["run"]["state"] == "ACTIVE"
    assert documents["settled"]["state"] == "FAILED"
    assert documents["report"]["run"]["end"]["reason"] == "POLICY"
    assert documents["report"]["cancel"] == {"replayed": False, "known": True}
    assert documents["journal"]["entries"][0]["kind"] == "OPENED"
    assert documents["journal"]["more"] is False
    assert [run["run_id"] for run in documents["runs"]["runs"]] == ["r-2", "r-1"]


def _prepared(shell: Shell) -> str:
    return shell("prepare", "a.b", "--grant", "g-1", "--quiet").out.strip()


def test_jsonl_is_a_document_a_line(granted: Shell) -> None:
    """Lists become lines that can be cut, sorted and counted."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    granted("prepare", "a.c", "--op", "o-2", "--grant", "g-1")
    granted("cancel", "r-1", "--reason", "budget")
    granted("commit", "o-2", "--grant", "g-1")
    runs = granted("runs", "--output", "jsonl").lines
    assert [line["schema"] for line in runs] == ["countermand.run/v1"]
    entries = granted("journal", "r-1", "--output", "jsonl").lines
    assert {line["schema"] for line in entries} == {"countermand.entry/v1"}
    assert [line["seq"] for line in entries] == sorted(line["seq"] for line in entries)
    head, *rest = granted("report", "r-1", "--output", "jsonl").lines
    assert head["schema"] == "countermand.report_head/v1"
    assert [(line["schema"], line.get("part")) for line in rest] == [
        ("countermand.reported_action/v1", "interrupted"),
        ("countermand.reported_action/v1", "in_flight"),
        ("countermand.late_attempt/v1", None),
    ]
    checks = granted("doctor", "--output", "jsonl").lines
    assert {line["schema"] for line in checks} == {"countermand.check/v1"}


def test_a_refusal_is_a_document_too(granted: Shell) -> None:
    """A program reads reason and metadata from standard output; the line for people is on standard error."""
    granted("cancel", "r-1", "--reason", "incident", "--note", "stop it")
    refused = granted("perform", "a.b", "--op", "o-1", "--grant", "g-1", "--output", "json")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert one_line(refused.err)
    document = refused.document
    assert document["schema"] == "countermand.refusal/v1"
    assert document["reason"] == "REVOKED"
    assert document["next"] == "STOP_THE_RUN"
    assert document["exit_code"] == 3
    assert document["metadata"]["stop_reason"] == "INCIDENT"


def test_ids_alone_for_scripts(real: Sidecar, shell: Shell) -> None:
    """--quiet prints the id and nothing else."""
    run = shell("open", "-q").out
    assert re.fullmatch(r"r-\w+\n", run)
    grant = shell("issue", run.strip(), "--scope", "*", "-q").out
    assert re.fullmatch(r"g-\w+\n", grant)
    op = shell("perform", "a.b", "--grant", grant.strip(), "-q").out
    assert re.fullmatch(r"o-\w+\n", op)


def test_open_takes_what_a_run_is_described_by(real: Sidecar, shell: Shell) -> None:
    """Subject, agent, tenant, labels, time; said again, it is the same run."""
    told = [
        "--run",
        "r-1",
        "--subject",
        "u",
        "--agent",
        "a",
        "--tenant",
        "t",
        "--label",
        "x=1=2",
        "--ttl",
        "1h",
    ]
    run = shell.json("open", *told)["run"]
    assert (run["subject"], run["agent"], run["tenant"], run["labels"]) == ("u", "a", "t", {"x": "1=2"})
    again = shell("open", *told)
    assert again.code == 0
    assert "opened before" in again.err
    assert shell("open", "--run", "r-1", "--agent", "other").code == ExitCode.FIX_THE_CALL
    assert shell("open", "--label", "nothing").code == ExitCode.USAGE


def test_runs_are_filtered_and_paged(real: Sidecar, shell: Shell) -> None:
    """By state, subject, agent and tenant; --limit says when there are more."""
    for number in range(5):
        who = ["--agent", f"a-{number % 2}", "--subject", f"u-{number}", "--tenant", f"t-{number % 2}"]
        shell("open", "--run", f"r-{number}", *who)
    shell("cancel", "r-3", "--reason", "incident")

    def listed(*told: str) -> list[str]:
        return [run["run_id"] for run in shell.json("runs", *told)["runs"]]

    assert listed() == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert listed("--state", "Cancelled") == ["r-3"]
    assert listed("--agent", "a-1", "--state", "active") == ["r-1"]
    assert listed("--subject", "u-2") == ["r-2"]
    assert listed("--tenant", "t-1") == ["r-3", "r-1"]
    some = shell("runs", "--limit", "2")
    assert "There are more" in some.err
    assert [row.split()[0] for row in some.out.splitlines()] == ["run", "r-4", "r-3"]
    assert "INCIDENT by ada (operator)" in some.out
    assert "There are no such runs" in shell("runs", "--agent", "nobody").err
    assert shell("runs", "--state", "odd").code == ExitCode.USAGE


def test_the_journal_is_read_in_pages(granted: Shell) -> None:
    """--after and --limit; a line for each entry."""
    for number in range(3):
        granted("perform", "a.b", "--op", f"o-{number}", "--grant", "g-1")
    whole = granted("journal", "r-1").out.splitlines()
    assert len(whole) == 8
    assert whole[0].split()[3] == "OPENED"
    some = granted("journal", "r-1", "--after", "2", "--limit", "2")
    assert some.out.splitlines() == whole[2:4]
    assert "There are more entries" in some.err
    assert granted("journal", "r-1", "--limit", "2", "--output", "json").document["more"] is True
    assert granted("journal", "nope").code == ExitCode.FIX_THE_CALL
    assert granted("journal", "r-1", "--follow", "--output", "json").code == ExitCode.USAGE


def test_the_journal_is_followed(granted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """--follow prints new entries as they come, until Ctrl-C."""
    after_each(monkeypatch, ISSUED=lambda: _cancel(granted), CANCELLED=ctrl_c)
    done = granted("journal", "r-1", "--follow", "--output", "jsonl")
    assert done.code == ExitCode.INTERRUPTED
    assert [line["kind"] for line in done.lines] == ["OPENED", "ISSUED", "CANCELLED"]


def _cancel(shell: Shell) -> None:
    from countermand.sync import connect

    with connect() as client:
        client.operator.cancel("r-1", reason="INCIDENT")


def test_arguments_bind_the_permit(granted: Shell, tmp_path: Path) -> None:
    """The same arguments, from text, a file or standard input, in any spelling; others are refused."""
    granted("prepare", "a.b", "--op", "o-1", "--grant", "g-1", "--args", '{"b": 1, "a": [true, null]}')
    changed = granted("commit", "o-1", "--grant", "g-1", "--args", '{"b": 2, "a": [true, null]}')
    assert changed.code == ExitCode.FIX_THE_CALL
    assert "DIGEST_MISMATCH" in changed.err
    file = tmp_path / "args.json"
    file.write_text('{"a": [true, null], "b": 1}')
    assert granted("commit", "o-1", "--grant", "g-1", "--args", f"@{file}").code == 0
    granted("prepare", "a.b", "--op", "o-2", "--grant", "g-1", "--args", f"@{file}")
    assert (
        granted("commit", "o-2", "--grant", "g-1", "--args", "-", typed='{"b":1,"a":[true,null]}').code == 0
    )


@pytest.mark.parametrize("args", ["[]", "1", "{", "@/nowhere", '"x"'])
def test_arguments_that_are_no_object_are_refused(granted: Shell, args: str) -> None:
    """They are a mistake on the command line, told in one line."""
    done = granted("prepare", "a.b", "--grant", "g-1", "--args", args)
    assert done.code == ExitCode.USAGE
    assert one_line(done.err)


def test_a_permit_given_before_is_no_permission(granted: Shell) -> None:
    """A script that runs twice acts once; --again is for an answer that never came."""
    granted("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    first = granted.json("commit", "o-1", "--grant", "g-1")
    twice = granted("commit", "o-1", "--grant", "g-1")
    assert twice.code == ExitCode.FIX_THE_CALL
    assert twice.out == ""
    assert "ALREADY_PERMITTED" in twice.err
    again = granted.json("commit", "o-1", "--grant", "g-1", "--again")
    assert again["replayed"] is True
    assert again["fence"] == first["fence"]
    assert granted("perform", "a.c", "--op", "o-2", "--grant", "g-1").code == 0
    assert granted("perform", "a.c", "--op", "o-2", "--grant", "g-1").code == ExitCode.FIX_THE_CALL


def test_declarations_reach_the_report(granted: Shell) -> None:
    """Reversibility and compensation, as the integrator said them."""
    what = ["--reversibility", "Read-Only", "--resource", "https://x.example/1"]
    granted("perform", "a.read", "--op", "o-1", "--grant", "g-1", *what)
    undo = ["--reversibility", "compensable", "--compensation", "a.undo"]
    granted("perform", "a.write", "--op", "o-2", "--grant", "g-1", *undo)
    told = granted.json("report", "r-1")["in_flight"]
    assert [one["undo"]["reversibility"] for one in told] == ["READ_ONLY", "COMPENSABLE"]
    assert told[0]["resource"] == "https://x.example/1"
    assert told[1]["undo"]["how"] == "a.undo"
    assert granted("perform", "a.b", "--grant", "g-1", "--reversibility", "maybe").code == ExitCode.USAGE


def test_settle_takes_exactly_one_outcome(granted: Shell) -> None:
    """Succeeded, failed and unknown exclude each other; unknown stays visible."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    assert granted("settle", "o-1", "--grant", "g-1").code == ExitCode.USAGE
    assert granted("settle", "o-1", "--grant", "g-1", "--failed", "--unknown").code == ExitCode.USAGE
    assert (
        granted.json("settle", "o-1", "--grant", "g-1", "--unknown", "--note", "timed out")["state"]
        == "UNKNOWN"
    )
    assert granted.json("report", "r-1")["unknown"][0]["note"] == "timed out"


def test_abandoned_and_expired_actions_are_not_done(granted: Shell, clock: ManualClock) -> None:
    """What was given up or not committed in time did not happen, and the report says which."""
    granted("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    assert (
        "can never be committed"
        in granted("abandon", "o-1", "--grant", "g-1", "--note", "changed my mind").out
    )
    granted("prepare", "a.b", "--op", "o-2", "--grant", "g-1", "--ttl", "2s")
    clock.advance("3s")
    assert granted("commit", "o-1", "--grant", "g-1").code == ExitCode.FIX_THE_CALL
    assert "PREPARE_EXPIRED" in granted("commit", "o-2", "--grant", "g-1").err
    told = granted("report", "r-1").out
    assert "given up by the tool" in told
    assert "not committed in time" in told


def test_scopes_bind(real: Sidecar, shell: Shell) -> None:
    """A scope's pattern, uses and ceiling are enforced; a text that is no scope is refused."""
    shell("open", "--run", "r-1")
    shell(
        "issue",
        "r-1",
        "--grant",
        "g-1",
        "--scope",
        "email.send mailto:*@example.com uses=1 ceiling=compensable",
    )
    act = ["perform", "email.send", "--grant", "g-1", "--resource"]
    mild = ["--reversibility", "compensable"]
    assert shell(*act, "mailto:a@elsewhere.example", *mild).code == ExitCode.STOP_THE_RUN
    assert "ceiling" in shell(*act, "mailto:a@example.com").err
    assert shell(*act, "mailto:a@example.com", *mild).code == ExitCode.OK
    assert "USES_EXHAUSTED" in shell(*act, "mailto:a@example.com", *mild).err
    assert shell("issue", "r-1", "--scope", "email.send uses=x").code == ExitCode.FIX_THE_CALL


def test_serve_is_the_sidecar_itself(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option goes to the sidecar unchanged, --help too; --home before the verb is its home."""
    from countermand.cli import serve

    started: list[list[str]] = []
    monkeypatch.setattr(serve.os, "execv", lambda _, command: started.append(command[1:]))
    monkeypatch.setenv("COUNTERMAND_HOME", "/elsewhere")
    shell("--home", "/x", "serve", "--store", "memory", "--help")
    assert started == [["-P", "-m", "grant_service", "--store", "memory", "--help"]]
    assert serve.os.environ["COUNTERMAND_HOME"] == "/x"
