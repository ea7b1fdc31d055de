"""The token: how code that can only be told learns that it should stop."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from countermand import CancellationToken, Stop, Stopped, StopReason
from tests.work.support import USER


def test_it_says_whether_and_why() -> None:
    """`check` raises, `wait` wakes up; before a stop neither does."""
    token = CancellationToken()
    token.check()
    assert not token.is_cancelled
    assert not token.wait("1ms")
    assert token.reason is None

    token.cancel(USER)

    assert token.is_cancelled
    assert token.wait()
    assert token.reason is StopReason.USER_STOP
    with pytest.raises(Stopped) as stopped:
        token.check()
    assert stopped.value.stop is USER


def test_the_first_stop_stands() -> None:
    """Whoever comes later changes nothing."""
    token = CancellationToken()
    token.cancel(USER)
    token.cancel(Stop(StopReason.INCIDENT))

    assert token.stop is USER


def test_a_wait_ends_at_the_stop() -> None:
    """Also in another thread."""
    token, woken = CancellationToken(), []
    thread = threading.Thread(target=lambda: woken.append(token.wait("60s")))
    thread.start()
    token.cancel(USER)
    thread.join(10)

    assert woken == [True]


def test_callbacks_are_called_once() -> None:
    """One that comes after the stop is called at once, one that was taken back never."""
    token, told = CancellationToken(), []
    token.on_cancel(lambda stop: told.append(("a", stop)))
    token.on_cancel(lambda stop: told.append(("b", stop)))()
    token.cancel(USER)
    token.cancel(USER)
    token.on_cancel(lambda stop: told.append(("c", stop)))

    assert told == [("a", USER), ("c", USER)]


def test_a_callback_that_fails_is_named_and_hinders_no_other() -> None:
    """Not even one that ends the program: that is raised when all have been called."""
    token, told = CancellationToken(), []

    def fails(_: Stop) -> None:
        raise ValueError("boom")

    def ends(_: Stop) -> None:
        raise KeyboardInterrupt

    for callback in (fails, ends, told.append):
        token.on_cancel(callback)
    with pytest.raises(KeyboardInterrupt):
        token.cancel(USER)

    assert told == [USER]
    assert [str(one) for one in token.failures] == [
        "callback fails: ValueError: boom",
        "callback ends: KeyboardInterrupt: ",
    ]


def test_a_callback_may_come_back_in() -> None:
    """It may cancel again, and register another."""
    token, told = CancellationToken(), []

    def again(stop: Stop) -> None:
        token.cancel(Stop(StopReason.INCIDENT))
        token.on_cancel(told.append)

    token.on_cancel(again)
    token.cancel(USER)

    assert told == [USER]


def test_a_follower_stops_with_it_and_can_stop_alone() -> None:
    """Downward, never upward."""
    above = CancellationToken()
    alone, below = above.follower(), above.follower()
    alone.cancel(USER)
    assert not above.is_cancelled

    above.cancel(USER)

    assert below.stop is USER
    assert above.follower().stop is USER


class Careless(CancellationToken):
    """The token without the one lock that registers and cancels in turn."""

    between: Callable[[], None] = staticmethod(lambda: None)

    def on_cancel(self, callback):  # type: ignore[no-untyped-def]
        if self._stop is not None:
            callback(self._stop)
        else:
            self.between()
            self._callbacks[object()] = callback
        return lambda: None


def test_no_callback_is_lost_or_called_twice_in_a_race() -> None:
    """Registered while another thread cancels, it is called exactly once."""
    for _ in range(300):
        token, told, barrier = CancellationToken(), [], threading.Barrier(2)

        def cancel(token: CancellationToken = token, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            token.cancel(USER)

        thread = threading.Thread(target=cancel)
        thread.start()
        barrier.wait()
        token.on_cancel(told.append)
        thread.join()
        assert told == [USER]


def test_without_the_lock_one_is_lost() -> None:
    """Negative control: the cancel that comes between the look and the registration is missed."""
    token, told = Careless(), []
    token.between = lambda: token.cancel(USER)  # type: ignore[method-assign]
    token.on_cancel(told.append)

    assert told == []


class Struck(dict[Any, Any]):
    """What a token keeps, with a signal that arrives while something is put there."""

    def __init__(self, handler: Callable[[], None], *, before: bool) -> None:
        self._handler, self._before = handler, before

    def __setitem__(self, key: object, value: object) -> None:
        if self._before:
            self._handler()
        super().__setitem__(key, value)
        self._handler()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kept", ["_callbacks", "_followers"])
def test_a_signal_that_cancels_is_heard_once_whatever_it_interrupts(kept: str, before: bool) -> None:
    """Python calls its handler in the midst of what the main thread does with the token."""
    heard: list[Stop] = []

    def play() -> None:
        token = CancellationToken()
        setattr(token, kept, Struck(lambda: token.cancel(USER), before=before))
        if kept == "_callbacks":
            token.on_cancel(heard.append)
        else:
            follower = token.follower()
            follower.on_cancel(heard.append)
            assert follower.stop is USER

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert heard == [USER]


SIGNALS = """
import signal, countermand.sync as countermand

for number in range(100):
    try:
        with countermand.scope() as scope:
            signal.signal(signal.SIGALRM, lambda *_: scope.token.cancel(countermand.Stop()))
            signal.setitimer(signal.ITIMER_REAL, 0.001 + number * 0.00001)
            while True:
                scope.token.on_cancel(lambda _: None)()
                scope.token.release(scope.token.follower())
                scope.token.wait(1e-6)
                scope.check()
    except countermand.Stopped:
        pass
print("all stopped")
"""


def test_signals_that_cancel_block_nothing() -> None:
    """A hundred of them, each at some other moment."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stdout == "all stopped\n", done.stderr
