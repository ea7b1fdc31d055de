"""`--wait` ends when it is quiet or when the time is over, and says which."""

import pytest

from countermand import ErrorReason, Unavailable
from countermand.cli import tokens, waiting
from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell


@pytest.fixture
def flying(granted: Shell) -> Shell:
    """A run with one action in flight for 4 s."""
    assert granted("perform", "a.b", "--op", "o-1", "--grant", "g-1", "--use-within", "4s").code == 0
    return granted


def test_waits_until_quiet(flying: Shell, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report printed is the last one, and nothing is in flight in it."""
    monkeypatch.setattr(waiting.time, "sleep", lambda _: clock.advance("1s"))
    done = flying("cancel", "r-1", "--reason", "incident", "--wait", "1h")
    assert done.code == ExitCode.OK
    assert "Waiting: 1 action may still land, for 4 s more." in done.err
    assert "It is quiet." in done.err
    assert "Unknown (1)" in done.out


def test_gives_up_and_says_what_is_left(flying: Shell) -> None:
    """The clock stands still, so it never gets quiet: the exit code says so."""
    done = flying("cancel", "r-1", "--reason", "incident", "--wait", "100ms")
    assert done.code == ExitCode.NOT_QUIET
    assert "It is not quiet yet." in done.err
    assert "May still land (1)" in done.out


def test_an_outcome_ends_the_wait(flying: Shell, real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever settles makes it quiet, long before the permit's use-by."""
    token = tokens.find(real.home, "g-1")

    def settle(_: float) -> None:
        with real.connect_sync() as client:
            client.tool.settle(token, "o-1", "SUCCEEDED")

    monkeypatch.setattr(waiting.time, "sleep", settle)
    document = flying.json("cancel", "r-1", "--reason", "incident", "--wait", "1h")
    assert document["quiesced"] is True
    assert document["done"][0]["settled_after_cut"] is True


def test_a_report_that_cannot_be_read_does_not_take_the_first_one_with_it(
    flying: Shell, real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stopped; what the first report said is still printed."""
    flying("cancel", "r-1", "--reason", "incident")

    def unread(*_: object, **__: object) -> None:
        raise Unavailable("gone", reason=ErrorReason.STORE_UNAVAILABLE)

    with real.connect_sync() as client:
        first = client.auditor.report("r-1")
        monkeypatch.setattr(type(client.auditor), "report", unread)
        assert waiting.until_quiet(client, first, 0.1) is first


def test_there_is_nothing_to_wait_for_in_an_active_run(flying: Shell) -> None:
    """Only a stopped run gets quiet."""
    done = flying("report", "r-1", "--wait", "1h")
    assert done.code == ExitCode.NOT_QUIET
    assert "is active" in done.err
