"""The one clock of the stores that run inside the sidecar."""

import time
from collections.abc import Callable

#: Answers the time in milliseconds since 1970.
Clock = Callable[[], int]

#: How far behind what it has shown before a store's clock may be and still decide, in milliseconds. Within
#: this the highest time seen stands in; beyond it somebody has to look.
CLOCK_TOLERANCE_MS = 300_000


def system_clock() -> int:
    """Answer the host's time."""
    return time.time_ns() // 1_000_000
