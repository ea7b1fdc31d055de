"""Clean-up for code that blocks."""

import threading
import time
from collections.abc import Callable


class BlockingCleanUp:
    """One clean-up that was asked for."""

    def __init__(self, function: Callable[[], object], name: str, limit: float, in_thread: bool) -> None:
        self.name = name
        self._function, self._limit, self._in_thread = function, limit, in_thread

    def run(self) -> None:
        """Do it. Raises what it raises, and TimeoutError if it took longer than it may."""
        if self._in_thread:
            work = threading.Thread(target=self._keep, name=f"countermand clean-up {self.name}", daemon=True)
            self._raised: list[BaseException] = []
            work.start()
            work.join(self._limit)
            if work.is_alive():
                raise self._late("was left behind")
            if self._raised:
                raise self._raised[0]
            return
        begun = time.monotonic()
        self._function()
        if time.monotonic() - begun > self._limit:
            raise self._late("took longer: use in_thread=True to leave it behind")

    def _keep(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._raised.append(error)

    def _late(self, what: str) -> TimeoutError:
        return TimeoutError(f"clean-up {self.name} has {self._limit:g}s, and {what}")
