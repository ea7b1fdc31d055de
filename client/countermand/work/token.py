"""`CancellationToken`: how a thread learns that it should stop. It can be told only, never made to."""

import threading
from collections.abc import Callable
from contextlib import suppress

from countermand._errors import Stopped
from countermand._span import Span, seconds
from countermand._words import StopReason
from countermand.work.names import name_of
from countermand.work.receipt import WorkFailure
from countermand.work.stop import Stop

#: Is told of the stop.
Callback = Callable[[Stop], object]


class CancellationToken:
    """Says whether to stop, and why. Every method may be called from any thread; the first stop stands."""

    def __init__(self) -> None:
        # One that its own thread may enter anew: a signal handler may cancel while that is here.
        self._changed = threading.Condition(threading.RLock())
        self._is_told = False
        self._callbacks: dict[object, Callback] = {}
        self._followers: dict[CancellationToken, None] = {}
        #: The one stop there is, if any.
        self._stops: dict[None, Stop] = {}
        self._is_announced = False
        #: Told before all others: the scope whose token this is.
        self._scope: Callback | None = None
        self._failures: list[WorkFailure] = []

    def __repr__(self) -> str:
        return f"<CancellationToken {self._stop or 'not cancelled'}>"

    @property
    def _stop(self) -> Stop | None:
        return self._stops.get(None)

    @property
    def is_cancelled(self) -> bool:
        """Whether to stop."""
        return self._stop is not None

    @property
    def stop(self) -> Stop | None:
        """The whole stop; None while there is none."""
        return self._stop

    @property
    def reason(self) -> StopReason | None:
        """Why to stop; None while there is no stop."""
        return self._stop.reason if self._stop else None

    def check(self) -> None:
        """Raise `Stopped` if it is time to stop: call it before each step that could be left out."""
        if self._stop is not None:
            raise Stopped(self._stop)

    def wait(self, timeout: Span | None = None) -> bool:
        """Block until it is time to stop, or so long at most, and answer whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._is_told, None if timeout is None else seconds(timeout)
            )

    def on_cancel(self, callback: Callback) -> Callable[[], None]:
        """Call this at the stop, in the thread that cancels; at once if it is cancelled already.

        Answers a function that takes it back. A callback that fails stops nothing else, and is named
        in the receipt. Do little there: what else the same thread has to tell of waits behind it.
        """
        key = object()
        with self._changed:  # either the cancel finds it, or it finds the cancel: never both, never neither
            self._callbacks[key] = callback
            is_late = self._is_announced and self._callbacks.pop(key, None) is not None
        if is_late and self._stop is not None:
            self._call([callback], self._stop)
        return lambda: self._forget(key)

    def _forget(self, key: object) -> None:
        with self._changed:
            self._callbacks.pop(key, None)

    def cancel(self, stop: Stop) -> None:
        """Say that it is time to stop. Only the first time counts."""
        self._claim(stop)
        self._announce()

    def _claim(self, stop: Stop) -> Stop:
        """Let this be the stop, if there is none, and answer which it is. Nobody is told yet."""
        with self._changed:
            return self._stops.setdefault(None, stop)  # one step: no signal comes in between

    def _announce(self) -> None:
        """Tell everybody, once."""
        with self._changed:
            stop = self._stop
            if stop is None or self._is_announced:
                return
            self._is_announced = True
            callbacks = [*(follower.cancel for follower in list(self._followers)), *self._callbacks.values()]
            self._callbacks.clear()
            self._followers.clear()
        if self._scope is not None:
            self._call([self._scope], stop)
        with self._changed:
            self._is_told = True
            self._changed.notify_all()
        self._call(callbacks, stop)

    def _call(self, callbacks: list[Callback], stop: Stop) -> None:
        """Call each of them, whatever the others do; an exception that ends programs is raised at the end."""
        ends: list[BaseException] = []
        for callback in callbacks:
            try:
                callback(stop)
            except BaseException as error:
                self._failures.append(WorkFailure("callback", name_of(callback), error))
                if not isinstance(error, Exception):
                    ends.append(error)
        if ends:
            raise ends[0]

    @property
    def failures(self) -> tuple[WorkFailure, ...]:
        """The callbacks that failed."""
        return tuple(self._failures)

    def follower(self) -> "CancellationToken":
        """Answer a token that is cancelled with this one, and can be cancelled alone."""
        token = CancellationToken()
        self.adopt(token)
        return token

    def adopt(self, follower: "CancellationToken") -> None:
        """Let a token be cancelled with this one."""
        follower._failures = self._failures  # told of in one receipt
        with self._changed:
            self._followers[follower] = None
            is_late = self._is_announced and follower in self._followers
        if is_late and self._stop is not None:
            self.release(follower)
            follower.cancel(self._stop)

    def release(self, follower: "CancellationToken") -> None:
        """Forget a token that is no longer needed."""
        with self._changed, suppress(KeyError):
            del self._followers[follower]
