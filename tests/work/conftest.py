"""What every test of this folder has: an end."""

import signal
from collections.abc import Iterator

import pytest

SECONDS = 60.0


@pytest.fixture(autouse=True)
def _an_end() -> Iterator[None]:
    """Fail a test that hangs: whoever waits for work that never stops would wait for ever."""

    def over(*_: object) -> None:
        raise AssertionError(f"not over in {SECONDS:g}s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
