"""Guarded streams that block: a stop ends them though their reader sleeps, and says what it could not do."""

import contextvars
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from countermand import CancellationToken, FixTheCall, Stopped
from countermand.streams import reader
from countermand.sync import guard, scope
from tests.work.support import USER


class Wire:
    """A stream over a real socket, as the SDKs have it: its response knows the socket it is read from."""

    def __init__(self, **extensions: Any) -> None:
        self.ours, self.theirs = socket.socketpair()
        network = SimpleNamespace(get_extra_info={"socket": self.ours}.get)
        self.response = SimpleNamespace(extensions={"network_stream": network} | extensions)
        self.closed_in: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if got := self.ours.recv(1):
            return got.decode()
        raise ConnectionError("peer closed the connection")

    def close(self) -> None:
        self.closed_in.append(threading.current_thread().name)
        self.ours.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """One with a socket at its other end."""
    made = Wire()
    yield made
    made.ours.close()
    made.theirs.close()


def in_thread(stream: Any, token: CancellationToken, **more: Any) -> tuple[Any, threading.Thread, list[Any]]:
    """Read it in a thread, and note how that ended."""
    guarded, ended = guard(stream, until=token, **more), []

    def read() -> None:
        try:
            for _ in guarded:
                pass
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return guarded, thread, ended


def until(it_is_so: Any) -> None:
    """Wait for another thread."""
    deadline = time.monotonic() + 10
    while not it_is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_read_that_sleeps_is_broken(wire: Wire) -> None:
    """The connection is cut before `cancel` returns; the reader wakes up, and closes what it has read."""
    token = CancellationToken()
    wire.theirs.send(b"ab")
    guarded, thread, ended = in_thread(wire, token)
    until(lambda: guarded.partial == ["a", "b"])
    token.cancel(USER)
    assert wire.theirs.recv(1) == b""  # the other end sees it, at once
    thread.join(10)

    assert ended[0].stop is guarded.stop is USER
    assert isinstance(ended[0].__cause__, ConnectionError)
    assert (guarded.text, guarded.not_closed, guarded.is_complete) == ("ab", "", False)
    assert wire.closed_in == ["countermand-stream"]
    until(lambda: not stream_threads())


def test_it_is_stopped_with_its_scope(wire: Wire) -> None:
    """Of the blocking kind; the thread that reads ends in time, so the receipt is clean."""
    wire.theirs.send(b"a")
    read: list[str] = []

    def reads(_: CancellationToken) -> None:
        with guard(wire) as guarded:
            read.extend(guarded)

    with scope("agent") as agent:
        agent.spawn(reads)
        until(lambda: stream_threads())
        receipt = agent.cancel(USER)

    assert receipt.is_clean
    assert wire.closed_in == ["countermand-stream"]


def stream_threads() -> list[str]:
    """Name the threads of guarded streams that are alive."""
    return [one.name for one in threading.enumerate() if one.name.startswith("countermand-stream")]


def test_closing_a_socket_does_not_wake_its_reader(wire: Wire) -> None:
    """Negative control: that is why it is cut and not closed."""
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (list(iter(lambda: wire.ours.recv(1), b"")), ended.set()))
    thread.start()
    time.sleep(0.3)  # it sleeps in its read by now, also on a machine that is busy
    descriptor = socket.socket(fileno=socket.dup(wire.ours.fileno()))
    wire.ours.close()
    assert not ended.wait(0.2)
    descriptor.shutdown(socket.SHUT_RDWR)
    descriptor.close()
    thread.join(10)
    assert ended.is_set()


def test_a_connection_that_others_use_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HTTP/2: a silent read is waited for in vain, and that is said."""
    monkeypatch.setattr(reader, "PATIENCE", 0.05)
    wire, token = Wire(stream_id=1), CancellationToken()
    guarded, thread, ended = in_thread(wire, token)
    until(lambda: stream_threads())
    token.cancel(USER)
    thread.join(10)

    assert isinstance(ended[0], Stopped)
    assert guarded.not_closed == (
        "thread countermand-stream still reads it, and nothing it has ends that: pass close="
    )
    assert guarded.not_closed in ended[0].__notes__[0]
    wire.theirs.send(b"x")  # the provider speaks again: the thread ends, and nobody is given that
    until(lambda: not stream_threads())
    assert guarded.partial == []
    wire.close()
    wire.theirs.close()


def test_a_shared_connection_ends_at_the_next_chunk_and_its_provider_is_not_told() -> None:
    """That is said, too: the client library forgets the stream, and the provider may talk on."""
    wire, token = Wire(stream_id=1), CancellationToken()
    guarded, thread, ended = in_thread(wire, token)
    until(lambda: stream_threads())
    token.cancel(USER)
    wire.theirs.send(b"a")
    thread.join(10)

    assert isinstance(ended[0], Stopped)
    assert guarded.partial == ["a"]
    assert guarded.not_closed.startswith("it came over HTTP/2")
    assert wire.closed_in == ["countermand-stream"]
    wire.theirs.close()


def test_a_way_to_close_that_is_given_is_used() -> None:
    """For what is not built on a known HTTP client; here it ends the read."""
    token, silence = CancellationToken(), threading.Event()

    def says() -> Iterator[str]:
        yield "a"
        silence.wait()

    guarded, thread, ended = in_thread(says(), token, close=silence.set)
    until(lambda: guarded.partial)
    token.cancel(USER)
    thread.join(10)

    assert ended[0].stop is USER
    assert (guarded.not_closed, guarded.is_complete) == ("", False)


def test_a_stop_while_nobody_reads_closes_it(wire: Wire) -> None:
    """The next chunk is refused."""
    token = CancellationToken()
    wire.theirs.send(b"ab")
    with pytest.raises(Stopped), guard(wire, until=token) as guarded:
        for _ in guarded:
            token.cancel(USER)
            wire.theirs.settimeout(5)
            assert wire.theirs.recv(1) == b""

    assert guarded.partial == ["a"]


def test_a_stop_from_before_reads_nothing(wire: Wire) -> None:
    """It is closed unread, and no thread is started for it."""
    token = CancellationToken()
    token.cancel(USER)
    with pytest.raises(Stopped):
        list(guard(wire, until=token))
    assert wire.theirs.recv(1) == b""
    assert not stream_threads()


@pytest.mark.parametrize("leaves", ["break", "raise"])
def test_a_loop_that_is_left_closes_it(wire: Wire, leaves: str) -> None:
    """Where it was read, and whether or not in a `with` block."""
    wire.theirs.send(b"ab")
    try:
        for _ in guard(wire):
            if leaves == "raise":
                raise ValueError("boom")
            break
    except ValueError:
        assert leaves == "raise"
    assert wire.closed_in == ["countermand-stream"]
    until(lambda: not stream_threads())


def test_a_reader_that_is_interrupted_lets_nothing_go_on(wire: Wire) -> None:
    """As by Ctrl-C: the exception passes, and the connection is closed."""

    def strikes(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, strikes)
    main = threading.main_thread().ident
    assert main is not None
    striking = threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGUSR1))
    striking.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(guard(wire))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert wire.closed_in == ["countermand-stream"]
    assert wire.theirs.recv(1) == b""


def test_whoever_reads_is_woken_by_a_close_from_another_thread() -> None:
    """And is not told that what came was all of it."""
    ended = threading.Event()

    class Silent:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            ended.wait()
            raise StopIteration

        def close(self) -> None:
            ended.set()

    for _ in range(20):
        ended.clear()
        guarded, thread, ends = in_thread(Silent(), CancellationToken())
        until(lambda guarded=guarded: guarded._reader.is_busy)
        guarded.close()
        thread.join(5)
        assert not thread.is_alive()
        assert [type(end) for end in ends] == [FixTheCall]
        assert not guarded.is_complete


def test_nothing_is_read_ahead_and_the_context_is_the_readers() -> None:
    """A chunk is read when it is asked for, under the context variables of who asks."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("ann")
    read: list[str] = []

    def says() -> Iterator[str]:
        for chunk in "abc":
            read.append(f"{chunk} {name.get()}")
            yield chunk

    with guard(says()) as guarded:
        for _ in guarded:
            time.sleep(0.01)
            assert read == ["a ann"]
            break


def test_failures_and_ends_are_the_streams_own() -> None:
    """An exception passes as it is; a stream that ends is complete, with or without a connection."""
    whole = guard(iter("ab"))
    assert list(whole) == ["a", "b"]
    assert (whole.is_complete, whole.not_closed, whole.text) == (True, "", "ab")

    def fails() -> Iterator[str]:
        yield "a"
        raise ValueError("boom")

    failed = guard(fails())
    with pytest.raises(ValueError, match="boom"):
        list(failed)
    assert (failed.partial, failed.is_complete, failed.not_closed) == (["a"], False, "")


def test_what_nothing_can_stop_is_closed(wire: Wire) -> None:
    """Where it cannot be listened for a stop, it is not left open either."""

    class NotIssued:
        def watch(self, _: object) -> Any:
            raise FixTheCall("the grant is not issued yet")

    with pytest.raises(FixTheCall, match="not issued"):
        list(guard(wire, until=NotIssued()))
    other = Wire()
    with pytest.raises(FixTheCall, match="not issued"), guard(other, until=NotIssued()):
        pass
    assert len(wire.closed_in) == len(other.closed_in) == 1
    other.theirs.close()


def test_a_stream_that_connects_only_when_it_is_read_is_stopped_too() -> None:
    """Its beginning may block as any read may."""
    silence, token = threading.Event(), CancellationToken()

    class Connects:
        def __iter__(self) -> Iterator[str]:
            silence.wait()
            raise ConnectionError("closed while it connected")

    guarded, thread, ended = in_thread(Connects(), token, close=silence.set)
    until(lambda: stream_threads())
    token.cancel(USER)
    thread.join(10)
    assert ended[0].stop is guarded.stop is USER
    assert guarded.not_closed == ""
    until(lambda: not stream_threads())


def test_wrong_calls_are_refused() -> None:
    """What it cannot read, and reading twice."""
    with pytest.raises(FixTheCall, match=r"guarded by countermand\.guard"):
        guard(object())  # type: ignore[call-overload]
    guarded = guard(iter("a"))
    list(guarded)
    with pytest.raises(FixTheCall, match="read already"):
        list(guarded)


def test_a_stop_in_a_race_with_the_last_chunk_is_one_or_the_other() -> None:
    """Never neither, and no thread is left."""
    for _ in range(200):
        token = CancellationToken()
        guarded = guard(iter("ab"), until=token)
        cancelling = threading.Thread(target=token.cancel, args=(USER,))
        cancelling.start()
        try:
            assert list(guarded) == ["a", "b"]
            assert guarded.is_complete
        except Stopped:
            assert not guarded.is_complete
        cancelling.join()
    until(lambda: not stream_threads())
