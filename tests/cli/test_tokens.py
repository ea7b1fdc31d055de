"""A grant token never stands on a command line, and only its owner can read its file."""

import os
import stat
import time
from pathlib import Path

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import Sidecar
from tests.cli.support import Shell, one_line


def token_file(real: Sidecar, grant: str = "g-1") -> Path:
    """Where the token of a grant is kept."""
    return real.home / "grants" / f"{grant}.token"


def test_the_token_is_kept_where_only_its_owner_reads(real: Sidecar, granted: Shell) -> None:
    """0600 in a 0700 directory; not printed, in no form."""
    file = token_file(real)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    token = file.read_text().strip()
    assert token.startswith("eyJ")
    again = ["issue", "r-1", "--grant", "g-1", "--scope", "*"]
    for form in ("table", "json", "jsonl"):
        done = granted(*again, "--output", form)
        assert done.code == 0
        assert token not in done.out + done.err
    assert granted.json(*again)["token_file"] == str(file)


def test_the_token_alone_on_request(real: Sidecar, granted: Shell) -> None:
    """--print-token prints it, for a script to catch, and keeps no file."""
    told = granted("issue", "r-1", "--grant", "g-2", "--scope", "*", "--print-token")
    assert told.out.count("\n") == 1
    assert told.out.startswith("eyJ")
    assert not token_file(real, "g-2").exists()
    document = granted.json("issue", "r-1", "--grant", "g-2", "--scope", "*", "--print-token")
    assert document["grant_token"] + "\n" == told.out
    assert document["token_file"] is None


def test_every_way_to_hand_over_a_token(real: Sidecar, granted: Shell, tmp_path: Path) -> None:
    """By grant id, from a file, from standard input, from the environment."""
    token = token_file(real).read_text()
    elsewhere = tmp_path / "token"
    elsewhere.write_text(token)
    assert granted("perform", "a.b", "--grant", "g-1").code == 0
    assert granted("perform", "a.b", "--grant", f"@{elsewhere}").code == 0
    assert granted("perform", "a.b", "--grant", "-", typed=token).code == 0
    assert granted("perform", "a.b", COUNTERMAND_GRANT_TOKEN=token).code == 0


def test_a_token_on_the_command_line_is_refused(real: Sidecar, granted: Shell) -> None:
    """And not repeated in the refusal."""
    token = token_file(real).read_text().strip()
    done = granted("perform", "a.b", "--grant", token)
    assert done.code == ExitCode.USAGE
    assert token not in done.err
    assert one_line(done.err)


@pytest.mark.parametrize("told", ["g-none", "@/nowhere", "../g-1", "g 1", None])
def test_no_token_is_told_in_one_line(granted: Shell, told: str | None) -> None:
    """The line says which ways there are."""
    done = granted("perform", "a.b", *(["--grant", told] if told else []))
    assert done.code == ExitCode.USAGE
    assert one_line(done.err)
    assert "@FILE" in done.err or "cannot read" in done.err


def test_standard_input_is_read_once(granted: Shell) -> None:
    """The grant and the arguments cannot both come from it."""
    done = granted("perform", "a.b", "--grant", "-", "--args", "-", typed="x")
    assert done.code == ExitCode.USAGE


def test_a_directory_others_can_enter_keeps_no_token(real: Sidecar, granted: Shell) -> None:
    """The line says how to close it."""
    directory = token_file(real).parent
    directory.chmod(0o755)
    done = granted("issue", "r-1", "--scope", "*")
    assert done.code == ExitCode.USAGE
    assert f"chmod 700 {directory}" in done.err
    assert len(list(directory.iterdir())) == 1


def test_a_link_in_the_place_of_a_token_is_replaced(real: Sidecar, granted: Shell, tmp_path: Path) -> None:
    """What it points to is not written to."""
    bait = tmp_path / "bait"
    bait.write_text("mine")
    token_file(real, "g-3").symlink_to(bait)
    assert granted("issue", "r-1", "--grant", "g-3", "--scope", "*").code == 0
    assert bait.read_text() == "mine"
    assert not token_file(real, "g-3").is_symlink()


def test_old_tokens_are_forgotten(real: Sidecar, granted: Shell) -> None:
    """After two days nothing can be settled any more; until then a late outcome can still be told."""
    now = time.time()
    os.utime(token_file(real), (now - 3 * 86_400, now - 3 * 86_400))
    granted("issue", "r-1", "--grant", "g-2", "--scope", "*")
    os.utime(token_file(real, "g-2"), (now - 86_400, now - 86_400))
    granted("issue", "r-1", "--grant", "g-3", "--scope", "*")
    assert {path.name for path in token_file(real).parent.iterdir()} == {"g-2.token", "g-3.token"}
