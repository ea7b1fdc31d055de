"""Approvals: what waits is shown in full, agreed to as it is, and refused with a reason."""

import json
from pathlib import Path

import pytest

from countermand import digest
from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Done, Shell, one_line

ARGS = '{"amount": 900, "to": "DE02"}'
PAY = ("payment.send", "--op", "o-1", "--grant", "g-1", "--args", ARGS, "--summary", "pay 900 to DE02")


@pytest.fixture
def waiting(real: Sidecar, shell: Shell) -> Shell:
    """A payment that waits for a person."""
    shell("open", "--run", "r-1", "--agent", "bookkeeper", "--subject", "ann", "--tenant", "acme")
    shell("issue", "r-1", "--grant", "g-1", "--scope", "payment.* approval=irreversible")
    assert prepare(shell).code == ExitCode.WAITS_FOR_A_PERSON
    return shell


def prepare(shell: Shell, *more: str) -> Done:
    """Ask for the payment, the first time or again."""
    return shell("prepare", *PAY, "--resource", "iban:DE02", "--cost", "eur=900", *more)


def pending(shell: Shell) -> str:
    """The digest of the only action that waits."""
    (one,) = shell.json("approvals")["approvals"]
    told: str = one["digest"]
    return told


def test_what_waits_says_so_and_what_to_do(waiting: Shell) -> None:
    """Prepare, perform and commit answer with an exit code of their own, and never with a permit."""
    told = prepare(waiting)
    assert told.code == ExitCode.WAITS_FOR_A_PERSON
    assert "waits for a person, as it did before" in told.out
    assert "countermand approvals" in told.out
    assert prepare(waiting, "--output", "json").document["state"] == "AWAITING_APPROVAL"
    for verb in (("perform", "payment.send", "--op", "o-2"), ("commit", "o-1", "--args", ARGS)):
        refused = waiting(*verb, "--grant", "g-1")
        assert refused.code == ExitCode.WAITS_FOR_A_PERSON
        assert refused.out == ""
        assert one_line(refused.err)
        assert "AWAITING_APPROVAL" in refused.err
        assert "--again" not in refused.err
    assert waiting("why", "r-1/o-1").code == ExitCode.WAITS_FOR_A_PERSON
    assert "a person to agree" in waiting("report", "r-1").out


@pytest.mark.parametrize("output", ["table", "json", "jsonl"])
def test_that_more_waits_than_is_listed_is_said(
    waiting: Shell, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the way to the rest; one that is not listed is not called unknown."""
    waiting("prepare", "payment.send", "--op", "o-2", "--grant", "g-1")
    both = waiting("approvals", "--output", output)
    assert "more" not in both.err
    monkeypatch.setattr("grant_service.rpc.journal._MAX_PAGE", 1)
    told = waiting("approvals", "--output", output)
    assert "... and more: these are the 1 that wait longest" in told.err
    assert "countermand cancel RUN" in told.err
    if output == "json":
        assert (both.document["more"], told.document["more"]) == (False, True)
    monkeypatch.setattr("countermand.cli.confirming.there_is_a_terminal", lambda: True)
    refused = waiting("approve", "r-1", "o-2")
    assert (refused.code, refused.out) == (ExitCode.FIX_THE_CALL, "")
    assert "not among the 1 that wait longest" in refused.err


def test_what_waits_is_shown_in_full(waiting: Shell) -> None:
    """What, for whom, at what cost, until when, and the two lines to copy."""
    page = waiting("approvals").out
    for told in (
        "payment.send iban:DE02",
        "“pay 900 to DE02”",
        "for ann, agent bookkeeper, tenant acme, run r-1, action o-1",
        "cannot be undone; costs eur 900",
        "it can wait for ",
        f"digest of its arguments: {pending(waiting)}",
        "countermand approve r-1 o-1\n",
        "countermand deny r-1 o-1 --note WHY",
    ):
        assert told in page
    (line,) = waiting("approvals", "--output", "jsonl").lines
    assert line["schema"] == "countermand.approval/v1"
    assert line["digest"] == digest(json.loads(ARGS)).hex()
    assert line["costs"] == {"eur": 900}


def test_an_approval_is_for_these_arguments_once(waiting: Shell) -> None:
    """Said again it is the same one; the commit uses it up."""
    agree = ("approve", "r-1", "o-1", "--digest", pending(waiting), "--for", "5m", "--note", "checked")
    assert "can be committed once" in waiting(*agree).out
    assert waiting.json(*agree)["replayed"] is True
    said = prepare(waiting)
    assert said.code == ExitCode.OK
    assert "ada (operator) agreed to it: “checked”" in said.out
    assert waiting("why", "r-1/o-1").code == ExitCode.OK
    assert "Nothing waits" in waiting("approvals").err
    assert waiting("commit", "o-1", "--grant", "g-1", "--args", ARGS).code == ExitCode.OK
    late = waiting("deny", "r-1", "o-1", "--note", "too late")
    assert late.code == ExitCode.FIX_THE_CALL
    assert "ALREADY_PERMITTED" in late.err


def test_narrower_arguments_are_bound_by_their_own_digest(waiting: Shell, tmp_path: Path) -> None:
    """The tool is told them, and a commit with the ones that were prepared is refused."""
    file = tmp_path / "amended.json"
    file.write_text('{"to": "DE02", "amount": 100}')
    agree = ("approve", "r-1", "o-1", "--digest", pending(waiting), "--args", f"@{file}")
    assert waiting(*agree).code == ExitCode.OK
    told = prepare(waiting, "--output", "json").document["approval"]
    assert json.loads(told["amendment"]) == {"amount": 100, "to": "DE02"}
    assert told["amended_digest"] == digest({"amount": 100, "to": "DE02"}).hex()
    assert "with these arguments instead" in prepare(waiting).out
    assert waiting("commit", "o-1", "--grant", "g-1", "--args", ARGS).code == ExitCode.FIX_THE_CALL
    assert waiting("commit", "o-1", "--grant", "g-1", "--args", f"@{file}").code == ExitCode.OK


def test_an_approval_is_taken_back_until_it_is_used(waiting: Shell) -> None:
    """The commit that comes after is refused, with what the person said."""
    waiting("approve", "r-1", "o-1", "--digest", pending(waiting))
    assert waiting("deny", "r-1", "o-1", "--note", "no, wait", "--actor", "bob").code == ExitCode.OK
    assert waiting.json("deny", "r-1", "o-1", "--note", "again")["replayed"] is True
    refused = waiting("commit", "o-1", "--grant", "g-1", "--args", ARGS)
    assert refused.code == ExitCode.STOP_THE_RUN
    assert "a person said no" in refused.err
    assert "“no, wait”" in refused.err
    assert "a person said no" in waiting("why", "r-1/o-1").out
    assert (
        "a person said no, nobody in time, or the approval was not used in time"
        in waiting("report", "r-1").out
    )


def test_an_approval_lapses(waiting: Shell, clock: ManualClock) -> None:
    """Not used in time, it is no approval any more; and nobody can wait for ever."""
    waiting("approve", "r-1", "o-1", "--digest", pending(waiting), "--for", "10s")
    clock.advance("11s")
    assert "not used in time" in waiting("commit", "o-1", "--grant", "g-1", "--args", ARGS).err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["approve", "r-1", "o-1"], ExitCode.NOT_CONFIRMED, "--digest"),
        (["approve", "r-1", "o-1", "--digest", "abc"], ExitCode.USAGE, "64 hexadecimal digits"),
        (["approve", "r-1", "o-1", "--digest", "00" * 32], ExitCode.FIX_THE_CALL, "NOT_AWAITING"),
        (["approve", "r-1", "o-9", "--digest", "00" * 32], ExitCode.FIX_THE_CALL, "ACTION_UNKNOWN"),
        (["approve", "r-9", "o-1", "--digest", "00" * 32], ExitCode.FIX_THE_CALL, "RUN_UNKNOWN"),
        (["approve", "r-1", "o-1", "--digest", "00" * 32, "--args", "[]"], ExitCode.USAGE, "JSON object"),
        (
            ["approve", "r-1", "o-1", "--digest", "00" * 32, "--for", "x"],
            ExitCode.FIX_THE_CALL,
            "length of time",
        ),
        (["deny", "r-1", "o-1"], ExitCode.USAGE, "--note"),
        (["deny", "r-1", "o-9", "--note", "x"], ExitCode.FIX_THE_CALL, "ACTION_UNKNOWN"),
    ],
)
def test_a_mistake_decides_nothing(waiting: Shell, arguments: list[str], code: ExitCode, told: str) -> None:
    """One line, its code, and the action still waits."""
    done = waiting(*arguments)
    assert done.code == code
    assert one_line(done.err)
    assert told in done.err
    assert pending(waiting)


def test_a_cost_that_is_no_amount_is_refused(waiting: Shell) -> None:
    """Exit code 2; nothing was asked."""
    for cost in ("eur", "eur=", "=1", "eur=x", "eur=-1"):
        assert waiting("prepare", "payment.send", "--grant", "g-1", "--cost", cost).code == ExitCode.USAGE
