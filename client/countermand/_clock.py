"""The client's clock: it counts what is left of a permit or deadline, and never decides who may act."""

import time
from collections.abc import Callable

#: Answers seconds that only go up.
Clock = Callable[[], float]

# Where there is one, a clock that goes on while the machine sleeps: a permit must not outlive a closed lid.
_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsing() -> float:
    """Answer seconds since some moment before, sleep of the machine included."""
    return time.clock_gettime(_ID)
