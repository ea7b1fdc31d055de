"""Keeping evidence and verifying it, at the command line."""

import json
import sys
from pathlib import Path

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.sync import connect
from countermand.testing import sidecar
from tests.cli.support import Shell, after_each, ctrl_c, one_line


@pytest.fixture
def kept(granted: Shell, tmp_path: Path) -> Shell:
    """A run with a run below it, stopped; what the cancel answered and the keys are kept."""
    granted("open", "--run", "r-2", "--parent", "r-1")
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    granted("settle", "o-1", "--grant", "g-1", "--succeeded", "--receipt", "m-1")
    granted("prepare", "a.b", "--op", "o-2", "--grant", "g-1")
    stopped = granted("cancel", "r-1", "--reason", "user_stop", "--output", "json")
    (tmp_path / "stop.json").write_text(stopped.out)
    assert granted("journal", "keys", "--output-file", str(tmp_path / "keys.json")).code == 0
    granted("commit", "o-2", "--grant", "g-1")
    return granted


def files(tmp_path: Path) -> list[str]:
    """The options that name what was kept."""
    return ["--head", str(tmp_path / "stop.json"), "--key", str(tmp_path / "keys.json")]


def export(shell: Shell, tmp_path: Path, *more: str) -> Path:
    """Export the run."""
    path = tmp_path / "journal.jsonl"
    assert shell("journal", "export", "r-1", "--output-file", str(path), *more).code == 0
    return path


def test_what_a_cancel_answered_is_evidence(kept: Shell, tmp_path: Path) -> None:
    """Nothing else has to be kept: all runs of the report are verified by its heads."""
    done = kept("journal", "verify", "r-1", *files(tmp_path))
    assert done.code == ExitCode.OK
    assert done.err == ""
    first, second = done.out.splitlines()
    assert first.startswith("Holds: run r-1, 8 entries, up to entry 9 as key k-")
    assert first.endswith("; 1 more after that, in order and not covered.")
    assert second.startswith("Holds: run r-2, 1 entry, up to entry 3 as key k-")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_heads_are_found_in_whatever_people_keep(kept: Shell, tmp_path: Path, form: str) -> None:
    """A report in either form, a head of its own, printed or kept, and an export."""
    kept_files = {
        "report": kept("report", "r-1", "--output", form).out,
        "head": kept("journal", "head", "r-1", "--output", form).out,
        "export": kept("journal", "export", "r-1", "--tree").out,
    }
    for name, text in kept_files.items():
        (tmp_path / name).write_text(text)
        done = kept("journal", "verify", "r-1", "--head", str(tmp_path / name))
        assert (done.code, name) == (ExitCode.OK, name)
        assert "Holds: run r-1, 9 entries, up to entry 10 as" in done.out


def test_an_export_is_verified_without_any_service(
    kept: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the public keys alone; its own head says what it was, one kept earlier what it had been."""
    path = str(export(kept, tmp_path, "--tree"))
    monkeypatch.setenv("COUNTERMAND_HOME", "/nowhere")
    alone = kept("journal", "verify", "--file", path, *files(tmp_path)[2:])
    assert alone.code == ExitCode.OK
    assert "only a head that was kept earlier shows" in alone.err
    assert [line.split(",")[0] for line in alone.out.splitlines()] == ["Holds: run r-1", "Holds: run r-2"]
    held = kept("journal", "verify", "--file", path, *files(tmp_path), "--output", "json").document
    assert (held["holds"], held["by_kept_head"], held["notes"]) == (True, True, [])
    assert [len(one["heads"]) for one in held["journals"]] == [2, 2]
    no_key = kept("journal", "verify", "--file", path)
    assert no_key.code == ExitCode.USAGE
    assert "whose signature counts" in no_key.err


def test_an_export_says_in_each_line_what_it_holds(kept: Shell, tmp_path: Path) -> None:
    """A block for each run: what it is, the entries with their hashes, the head."""
    lines = [json.loads(line) for line in export(kept, tmp_path, "--tree").read_text().splitlines()]
    assert [line["run"] for line in lines if "countermand" in line] == ["r-1", "r-2"]
    first = lines[0]
    assert (first["countermand"], first["tree"]) == ("journal/1", True)
    entries = [line for line in lines if "seq" in line]
    assert set(entries[0]) == {"seq", "time", "run", "kind", "data", "hash"}
    heads = [line["head"] for line in lines if "head" in line]
    assert [head["schema"] for head in heads] == ["countermand.head/v1"] * 2
    assert heads[1]["hash"] == entries[-1]["hash"]
    assert [json.loads(line)["run"] for line in kept("journal", "export", "r-1").out.splitlines()[1:-1]] == [
        "r-1"
    ] * 9


#: What somebody does to the lines of an exported tree, and what is said of it. The 4th entry is on line 5.
TAMPERINGS = {
    "edited": (lambda lines: [*lines[:6], lines[6].replace("m-1", "m-2"), *lines[7:]], "number 6"),
    "removed": (lambda lines: [*lines[:4], *lines[5:]], "number 4"),
    "exchanged": (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "number 2"),
    "put in": (lambda lines: [*lines[:4], lines[3], *lines[4:]], "number 4"),
    "hash": (lambda lines: [*lines[:3], lines[3].replace('"hash": "', '"hash": "0'), *lines[4:]], "number 3"),
    "no entry": (lambda lines: [*lines[:3], "{}", *lines[4:]], "line 4 of the file is no entry"),
    "no json": (lambda lines: [*lines[:3], "nonsense", *lines[4:]], "line 4 of the file is no entry"),
    "a number as text": (
        lambda lines: [*lines[:3], lines[3].replace('"seq": 4', '"seq": "4"'), *lines[4:]],
        "line 4",
    ),
    "cut off": (lambda lines: lines[:5], "the file ends without its head"),
    "shortened": (lambda lines: [*lines[:6], *lines[10:]], "the head has 4 more"),
    "a run removed": (lambda lines: lines[:11], "lacks run r-2"),
    "head edited": (
        lambda lines: [*lines[:10], lines[10].replace('"entry_count": 9', '"entry_count": 8'), *lines[11:]],
        "does not have the signature",
    ),
    "head by nobody known": (
        lambda lines: [*lines[:10], lines[10].replace('"key_id": "', '"key_id": "x'), *lines[11:]],
        "which is not among those given",
    ),
    "head of another run": (
        lambda lines: [*lines[:10], lines[13], *lines[11:]],
        "its head is of another run: r-2",
    ),
    "something behind": (lambda lines: [*lines[:11], lines[9], *lines[11:]], "comes after the head"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_file_that_was_tampered_with_is_found_out(kept: Shell, tmp_path: Path, name: str) -> None:
    """Code 11, the first bad entry, and one line on what to do next."""
    tamper, told = TAMPERINGS[name]
    path = export(kept, tmp_path, "--tree")
    lines = path.read_text().splitlines()
    assert len(lines) == 14
    changed = tamper(lines)
    assert changed != lines
    path.write_text("\n".join(changed) + "\n")
    done = kept("journal", "verify", "--file", str(path), *files(tmp_path)[2:])
    assert done.code == ExitCode.DOES_NOT_HOLD, done
    assert told in done.out
    assert done.out.startswith("DOES NOT HOLD: run r-1")
    assert [line for line in done.err.splitlines() if line.startswith("Next: ")]


def test_hashes_that_were_made_to_fit_do_not_help(kept: Shell, tmp_path: Path) -> None:
    """Whoever edits an export can chain it anew; the signed head still knows."""
    from countermand.cli.evidence_files import blocks_in
    from countermand.evidence import chain

    path = export(kept, tmp_path)
    first, *entries, head = path.read_text().replace('"m-1"', '"m-2"').splitlines()
    (block,) = blocks_in(path.read_text().replace('"m-1"', '"m-2"'))
    fitting = [
        json.dumps(json.loads(one) | {"hash": link.hex()})
        for one, link in zip(entries, chain("r-1", block.lines), strict=True)
    ]
    path.write_text("\n".join([first, *fitting, head]))
    done = kept("journal", "verify", "--file", str(path), *files(tmp_path)[2:])
    assert done.code == ExitCode.DOES_NOT_HOLD
    assert "entry 7 (SETTLED), number 6 of its journal: it is not the one that was signed" in done.out


def test_a_head_of_another_run_is_no_evidence(kept: Shell, tmp_path: Path) -> None:
    """Neither for the service's journal nor for a file."""
    path = export(kept, tmp_path)
    (tmp_path / "other").write_text(kept("journal", "head", "r-2", "--output", "json").out)
    for what in (["r-1"], ["--file", str(path), *files(tmp_path)[2:]]):
        done = kept("journal", "verify", *what, "--head", str(tmp_path / "other"))
        assert done.code == ExitCode.DOES_NOT_HOLD
        assert "the head that was kept is of another run: r-2" in done.out


def test_a_key_of_somebody_else_verifies_nothing(kept: Shell, tmp_path: Path) -> None:
    """The keys that were kept count, not those the service lists today."""
    keys = json.loads((tmp_path / "keys.json").read_text())
    keys["keys"][0]["public_key"] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    done = kept("journal", "verify", "r-1", *files(tmp_path))
    assert done.code == ExitCode.DOES_NOT_HOLD
    assert "does not have the signature of key k-" in done.out


def test_a_file_that_is_no_evidence_is_a_mistake(kept: Shell, tmp_path: Path) -> None:
    """In one line, and nothing is called tampered with."""
    path = tmp_path / "file"
    for text in ("", "{}", "[]", "nonsense", '{"heads": [{}]}', '{"keys": 1}'):
        path.write_text(text)
        for arguments in (
            ["r-1", "--head", str(path)],
            ["r-1", "--key", str(path)],
            ["--file", str(path), *files(tmp_path)[2:]],
        ):
            done = kept("journal", "verify", *arguments)
            assert done.code == ExitCode.USAGE, (text, arguments, done)
            assert one_line(done.err)
            assert "countermand journal verify" in done.err
    path.write_bytes(b"\xff\xfe")
    assert kept("journal", "verify", "r-1", "--head", str(path)).code == ExitCode.USAGE
    assert kept("journal", "verify", "r-1", "--head", "/nowhere").code == ExitCode.USAGE
    assert kept("journal", "verify").code == ExitCode.USAGE
    assert kept("journal", "verify", "r-1", "--file", str(path)).code == ExitCode.USAGE


def test_evidence_is_never_written_over(kept: Shell, tmp_path: Path) -> None:
    """A head that is there already is somebody's; where nothing can be written, it is said."""
    path = tmp_path / "head.json"
    told = kept("journal", "head", "r-1", "--output-file", str(path))
    assert "Kept in" in told.err
    assert told.out == ""
    before = path.read_text()
    for verb in ("head", "export"):
        again = kept("journal", verb, "r-1", "--output-file", str(path))
        assert again.code == ExitCode.USAGE
        assert "is there already and is kept" in again.err
    assert path.read_text() == before
    assert kept("journal", "keys", "--output-file", str(path)).code == ExitCode.USAGE
    assert kept("journal", "keys", "--output-file", "/nowhere/x").code == ExitCode.USAGE


def test_without_the_extra_it_says_which_one(
    kept: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and not a defect."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    done = kept("journal", "verify", "r-1", *files(tmp_path))
    assert done.code == ExitCode.ASK_OPERATOR
    assert one_line(done.err)
    assert "pip install 'countermand[verify]'" in done.err


def test_a_run_that_is_forgotten_does_not_hold(kept: Shell, tmp_path: Path) -> None:
    """A journal that is gone altogether is what a head is kept for."""
    with sidecar() as other:
        done = kept("journal", "verify", "r-1", *files(tmp_path), "--home", str(other.home))
    assert done.code == ExitCode.DOES_NOT_HOLD
    assert "run r-1: the journal ends before its first entry: the head has 8 more" in done.out


def test_keys_and_heads_are_shown(kept: Shell) -> None:
    """For people and for programs."""
    assert "public key (Ed25519)" in kept("journal", "keys").out
    (key,) = kept.json("journal", "keys")["keys"]
    assert (len(key["public_key"]), key["signing"]) == (64, True)
    assert kept("journal", "head", "r-1").out.startswith("9 entries of run r-1 up to entry 10, as of ")
    head = kept.json("journal", "head", "r-1")
    assert (head["entry_count"], head["last_seq"], head["key_id"]) == (9, 10, key["key_id"])


def test_the_journal_is_listed_unless_another_verb_is_said(granted: Shell) -> None:
    """`journal RUN` as ever; `journal list` for a run that is called like a verb."""
    granted("open", "--run", "verify")
    whole = granted("journal", "list", "r-1")
    assert whole.out == granted("journal", "r-1").out != ""
    assert (
        granted("journal", "--after", "1", "r-1").out == granted("journal", "list", "r-1", "--after", "1").out
    )
    assert "OPENED" in granted("journal", "list", "verify").out
    missing = granted("journal")
    assert missing.code == ExitCode.USAGE
    assert one_line(missing.err)
    assert "countermand journal" in granted("journal", "tail", "nope", "--no-such").err


def test_the_last_entries_are_read_and_followed(granted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """-n of them, then those to come, also after the end, until Ctrl-C."""
    for op in ("o-1", "o-2"):
        granted("perform", "a.b", "--op", op, "--grant", "g-1")
    assert len(granted("journal", "tail", "r-1", "-n", "3").out.splitlines()) == 3
    assert len(granted("journal", "tail", "r-1").out.splitlines()) == 6
    assert granted("journal", "tail", "r-1", "-n", "0").out == ""
    assert len(granted.json("journal", "tail", "r-1", "-n", "2")["entries"]) == 2
    assert granted("journal", "tail", "r-1", "-f", "--output", "json").code == ExitCode.USAGE

    def cancel() -> None:
        with connect() as client:
            client.operator.cancel("r-1", reason="INCIDENT")

    after_each(monkeypatch, PERMITTED=cancel, CANCELLED=ctrl_c)
    done = granted("journal", "tail", "r-1", "-n", "1", "--follow", "--output", "jsonl")
    assert done.code == ExitCode.INTERRUPTED
    assert [line["kind"] for line in done.lines] == ["PERMITTED", "CANCELLED"]


def test_a_report_of_the_past_is_told(kept: Shell, tmp_path: Path) -> None:
    """With the cut's number it is what the cancel answered; every mistake is one line."""
    stop = json.loads((tmp_path / "stop.json").read_text())
    again = kept.json("report", "r-1", "--at", str(stop["cut_seq"]))
    for part in (
        "done",
        "interrupted",
        "in_flight",
        "unknown",
        "not_done",
        "pending",
        "late_attempts",
        "run",
    ):
        assert again[part] == stop[part], part
    assert again["at_seq"] == stop["cut_seq"]
    assert [one["hash"] for one in again["heads"]] == [one["hash"] for one in stop["heads"]]
    before = kept("report", "r-1", "--at", str(stop["cut_seq"] - 1))
    assert "Run r-1 is active" in before.out
    assert "when entry 8 had just been written" in before.out
    too_high = kept("report", "r-1", "--at", "999")
    assert too_high.code == ExitCode.FIX_THE_CALL
    assert "at_seq must be the number of an entry from 1" in too_high.err
    assert kept("report", "r-1", "--at", "9", "--wait", "1s").code == ExitCode.USAGE


def test_the_story_of_an_action_shows_who_won(kept: Shell) -> None:
    """In the order of numbers, by whom; nothing of it for a run or a grant."""
    lost = kept("why", "r-1/o-2").out.splitlines()
    assert [line.split()[:3] for line in lost[1:]] == [
        ["1.", "entry", "8"],
        ["2.", "entry", "9"],
        ["3.", "entry", "10"],
    ]
    assert "PREPARED    the tool, under grant g-1: a.b" in lost[1]
    assert "CANCELLED   ada (operator): USER_STOP" in lost[2]
    assert "REFUSED     the tool, under grant g-1: commit REVOKED" in lost[3]
    won = kept("why", "r-1/o-1", "--output", "json").document
    assert [one["kind"] for one in won["story"]] == ["PREPARED", "PERMITTED", "SETTLED", "CANCELLED"]
    assert kept("why", "r-1", "--output", "json").document["story"] == []
    assert len(kept("why", "r-1").out.splitlines()) == 1


def test_the_journal_of_the_fences_is_evidence_too(granted: Shell, tmp_path: Path) -> None:
    """Its head is kept, held against it, and exported, as that of a run."""
    granted("freeze", "--subject", "u-7", "--reason", "incident", "--yes")
    head, exported = tmp_path / "head.json", tmp_path / "fences.jsonl"
    assert granted("journal", "head", "_fences", "--output-file", str(head)).code == ExitCode.OK
    assert granted("journal", "keys", "--output-file", str(tmp_path / "keys.json")).code == ExitCode.OK
    granted("revoke", "--subject", "u-8", "--reason", "incident", "--yes")
    done = granted("journal", "verify", "_fences", "--head", str(head), "--key", str(tmp_path / "keys.json"))
    assert done.code == ExitCode.OK
    assert "Holds: run _fences, 1 entry" in done.out
    assert "1 more after that" in done.out
    assert granted("journal", "verify", "_fences").code == ExitCode.OK
    assert granted("journal", "export", "_fences", "--output-file", str(exported)).code == ExitCode.OK
    offline = ["--file", str(exported), "--head", str(head), "--key", str(tmp_path / "keys.json")]
    assert granted("journal", "verify", *offline).code == ExitCode.OK
    exported.write_text(exported.read_text().replace("u-7", "u-6"))
    assert granted("journal", "verify", *offline).code == ExitCode.DOES_NOT_HOLD


def test_a_head_needs_no_report(kept: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large to send keeps nobody from keeping, exporting and verifying the journal."""
    monkeypatch.setattr("grant_service.rpc.journal.MAX_REPORT_BYTES", 64)
    assert kept("report", "r-1").code != ExitCode.OK
    assert kept("journal", "head", "r-1").code == ExitCode.OK
    assert kept("journal", "verify", "r-1").code == ExitCode.OK
    assert export(kept, tmp_path, "--tree").read_text().count("journal/1") == 2
