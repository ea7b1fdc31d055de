"""The blocking client beside an async one: a sync tool that an async agent calls needs its own connection."""

import inspect
import threading
from typing import Any, TypeVar

from countermand._errors import FixTheCall

C = TypeVar("C")


class Twin:
    """Makes the sync client of the same sidecar when first needed, once, and closes it with its owner."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._made: Any = None
        self._closed = False

    def client(self, kind: type[C]) -> C:
        """Answer the twin of this kind; there is only a sync one."""
        if inspect.iscoroutinefunction(getattr(kind, "close", None)):
            raise FixTheCall(
                "an async tool was called under a grant of the blocking client: "
                "use 'import countermand' and its async connect() where tools are async"
            )
        with self._lock:
            if self._closed:
                raise FixTheCall("the client is closed; call connect() again")
            if self._made is None:
                self._made = kind(**self._options)
            made: C = self._made
            return made

    def close(self) -> None:
        """Close the twin, if there is one."""
        with self._lock:
            self._closed = True
            if self._made is not None:
                self._made.close()
