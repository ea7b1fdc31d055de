"""A report is handed out as a file or on standard output, and never at the price of a stop."""

from pathlib import Path

import pytest

from countermand.cli.exit_codes import ExitCode
from tests.cli.pages import Page
from tests.cli.support import Shell, one_line

CANCEL = ("cancel", "r-1", "--reason", "incident", "--note", "wrong list")


def test_a_report_is_printed_as_a_page(granted: Shell) -> None:
    """Alone on standard output, so that it can be sent on."""
    granted(*CANCEL)
    done = granted("report", "r-1", "--html")
    assert (done.code, done.err) == (ExitCode.OK, "")
    read = Page.of(done.out)
    assert read.faults == ()
    assert "wrong list" in read.text


def test_a_page_is_printed_whatever_the_encoding(granted: Shell) -> None:
    """It is ASCII: nothing in it can be lost on the way."""
    granted("cancel", "r-1", "--reason", "incident", "--note", "d\u00e9j\u00e0 vu")
    done = granted("report", "r-1", "--html")
    assert done.out.isascii()
    assert "d\u00e9j\u00e0 vu" in Page.of(done.out).text


@pytest.mark.parametrize("verb", [("report", "r-1"), CANCEL], ids=["report", "cancel"])
def test_a_page_is_put_into_a_file(granted: Shell, tmp_path: Path, verb: tuple[str, ...]) -> None:
    """And the usual answer is printed, for people and for programs."""
    file = tmp_path / "report.html"
    file.write_text("an older one")
    done = granted(*verb, "--html", "--output-file", str(file))
    assert done.code == ExitCode.OK
    assert done.out.startswith("Run r-1 ")
    assert done.err == f"The page is in {file}.\n"
    assert Page.of(file.read_text("ascii")).faults == ()
    told = granted.json(*verb, "--html", "--output-file", str(file))
    assert told["schema"] == "countermand.report/v1"


def test_a_cancel_whose_page_cannot_be_written_is_a_cancel(granted: Shell, tmp_path: Path) -> None:
    """The run is stopped, the report is printed, and the exit code does not say that it failed."""
    nowhere = tmp_path / "nowhere" / "report.html"
    done = granted(*CANCEL, "--html", "--output-file", str(nowhere))
    assert done.code == ExitCode.NOT_QUIET
    assert done.out.startswith("Run r-1 was stopped")
    assert one_line(done.err)
    assert "could not be written" in done.err
    assert "countermand report r-1 --html --output-file FILE" in done.err
    assert granted.json("report", "r-1")["run"]["state"] == "CANCELLED"


def test_a_report_whose_page_cannot_be_written_says_so(granted: Shell, tmp_path: Path) -> None:
    """A directory is no file."""
    done = granted("report", "r-1", "--html", "--output-file", str(tmp_path))
    assert done.code == ExitCode.ASK_OPERATOR
    assert one_line(done.err)


def test_a_cancel_of_nothing_says_so_first(granted: Shell, tmp_path: Path) -> None:
    """That nothing was stopped matters more than the page."""
    done = granted("cancel", "r-9", "--reason", "incident", "--html", "--output-file", str(tmp_path))
    assert done.code == ExitCode.NEVER_OPENED
    assert "NOTHING WAS STOPPED" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ("--output-file", "x.html"),
        ("--html", "--output", "json"),
        ("--html", "--output", "jsonl"),
    ],
)
@pytest.mark.parametrize("verb", [("report", "r-1"), CANCEL], ids=["report", "cancel"])
def test_what_cannot_be_meant_is_refused(
    granted: Shell, verb: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Before anything is asked, in one line, with what to add."""
    done = granted(*verb, *options)
    assert done.code == ExitCode.USAGE
    assert one_line(done.err)
    assert "add --" in done.err
    assert granted.json("report", "r-1")["run"]["end"] is None


def test_the_exit_code_tells_what_is_in_flight_here_too(granted: Shell, tmp_path: Path) -> None:
    """A page does not hide that something may still land."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    granted(*CANCEL)
    assert granted("report", "r-1", "--html", "--exit-code").code == ExitCode.NOT_QUIET
