"""The session against sidecars that misbehave, and many calls at once."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

import countermand
import countermand.sync
from countermand import _desk, _session
from countermand._address import Role
from countermand._rpcs import PERFORM, Sealed
from countermand.testing import Sidecar
from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import session_service_pb2 as pb
from tests.client.support import AsyncSoon, Soon

ASK = Sealed(action_pb.PerformActionRequest())


class Odd(grpc.GenericRpcHandler):
    """A server of sessions that answers each message with what `reply` makes of its first call, or never."""

    def __init__(self, reply: bytes | None) -> None:
        self._reply = reply
        self.gone = threading.Event()
        self.opened = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Serve whatever is asked."""
        return grpc.stream_stream_rpc_method_handler(self._keep)

    def _keep(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        self.opened += 1
        yield b""
        for frame in requests:
            call = pb.OpenSessionRequest.FromString(frame).calls[0]
            if self._reply is None:
                self.gone.wait(5)
                return
            answer = pb.SessionAnswer.FromString(self._reply)
            answer.call_id = call.call_id
            yield pb.OpenSessionResponse(answers=[answer]).SerializeToString()


def _serving(folder: Path, odd: Odd) -> tuple[grpc.Server, str]:
    server = grpc.server(ThreadPoolExecutor(4), handlers=[odd])
    target = f"unix:{folder}/odd.sock"
    server.add_insecure_port(target)
    server.start()
    return server, target


SILENT, OTHER = None, pb.SessionAnswer(settle=action_pb.SettleActionResponse()).SerializeToString()


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "sync"])
def test_a_session_on_which_nothing_comes_is_let_go_of(tmp_path: Path, blocking: bool) -> None:
    """The caller hears that nothing is known, in its own time; the next call does not wait for it again."""
    odd = Odd(SILENT)
    server, target = _serving(tmp_path, odd)
    try:
        (_late_blocking if blocking else _late)(target)
    finally:
        odd.gone.set()
        server.stop(0).wait()


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "sync"])
def test_a_session_on_which_no_watch_is_answered_is_opened_again(
    tmp_path: Path, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call travels on it, so no call would notice that nothing comes."""
    monkeypatch.setattr(_session, "_SILENCE", 0.2)
    odd = Odd(SILENT)
    server, target = _serving(tmp_path, odd)
    watch = Sealed(pb.WatchRunRequest(run_id="r-1"))

    async def play() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            session = _session.AsyncSession(channel)
            session.watch(watch, lambda _: None)
            await AsyncSoon.until(lambda: odd.opened > 1)
            assert not session.is_ready
            await session.close()

    try:
        if not blocking:
            asyncio.run(play())
            return
        with grpc.insecure_channel(target) as channel:
            session = _session.Session(channel)
            session.watch(watch, lambda _: None)
            Soon.until(lambda: odd.opened > 1)
            assert not session.is_ready
            session.close()
    finally:
        odd.gone.set()
        server.stop(0).wait()


def _late(target: str) -> None:
    async def play() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            session = _session.AsyncSession(channel)
            session.want()
            await AsyncSoon.until(lambda: session.is_ready)
            began = time.monotonic()
            with pytest.raises(countermand.TimedOut):
                await session.call(PERFORM, ASK, 0.2)
            assert 0.15 < time.monotonic() - began < 2
            await AsyncSoon.until(lambda: not session.is_ready)
            await session.close()

    asyncio.run(play())


def _late_blocking(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        session = _session.Session(channel)
        session.want()
        Soon.until(lambda: session.is_ready)
        with pytest.raises(countermand.TimedOut):
            session.call(PERFORM, ASK, 0.2)
        Soon.until(lambda: not session.is_ready)
        session.close()


async def test_each_call_is_late_in_its_own_time(tmp_path: Path) -> None:
    """Whichever was asked first, and though one that waits longer, or for ever, is not late yet."""
    odd = Odd(SILENT)
    server, target = _serving(tmp_path, odd)
    late: list[float] = []

    async def ask(seconds: float) -> None:
        with pytest.raises(countermand.TimedOut):
            await session.call(PERFORM, ASK, seconds)
        late.append(seconds)

    try:
        async with grpc.aio.insecure_channel(target) as channel:
            session = _session.AsyncSession(channel)
            session.want()
            await AsyncSoon.until(lambda: session.is_ready)
            patient = [asyncio.create_task(session.call(PERFORM, ASK, one)) for one in (60, float("inf"))]
            began = time.monotonic()
            await asyncio.gather(*map(ask, (0.3, 0.1, 0.2)))
            assert time.monotonic() - began >= 0.3
            assert late == [0.1, 0.2, 0.3]
            assert not any(one.done() for one in patient)
            await session.close()
            for one in patient:
                with pytest.raises(countermand.Unavailable):
                    await one
    finally:
        odd.gone.set()
        server.stop(0).wait()


async def test_an_answer_of_another_kind_is_no_permit(tmp_path: Path) -> None:
    """Whatever it says: do not act."""
    server, target = _serving(tmp_path, Odd(OTHER))
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            session = _session.AsyncSession(channel)
            session.want()
            await AsyncSoon.until(lambda: session.is_ready)
            with pytest.raises(countermand.AskOperator, match="do not act"):
                await session.call(PERFORM, ASK, 2)
            await session.close()
    finally:
        server.stop(0).wait()


def intent(index: int, resource: str = "") -> countermand.Intent:
    """One of many effects."""
    kind = countermand.Reversibility.IRREVERSIBLE
    return countermand.Intent(f"o-{index}", "email.send", resource, countermand.digest({}), kind)


async def test_many_calls_of_one_turn_are_split_to_messages_that_fit(real: Sidecar) -> None:
    """300 calls of 900 bytes are more than a sidecar takes in one message."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        session.want()
        await AsyncSoon.until(lambda: session.is_ready)
        calls = (cm.tool.perform(token, intent(index, "x" * 500)) for index in range(300))
        permits = await asyncio.gather(*calls)
    assert len({one.fence for one in permits}) == 300


async def test_calls_on_a_session_that_breaks_are_asked_again_alone(real: Sidecar) -> None:
    """Nobody knows whether they were decided; each gets one permit all the same."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        for round_ in range(10):
            session.want()
            await AsyncSoon.until(lambda: session.is_ready)
            asked = [
                asyncio.ensure_future(cm.tool.perform(token, intent(round_ * 100 + index)))
                for index in range(20)
            ]
            await asyncio.sleep(round_ * 0.0004)
            session._stream.cancel()
            permits = await asyncio.gather(*asked)
            assert len({one.fence for one in permits}) == 20
        report = await cm.auditor.report("r-1")
    assert len(report.in_flight) == 200


def test_threads_share_one_session(real: Sidecar) -> None:
    """What several threads ask travels on the one stream of their client."""
    with countermand.sync.connect(real.home) as cm:
        cm.issuer.open(run_id="r-1", agent="a")
        token = cm.issuer.issue("r-1", scopes=["*"]).token
        session = cm.connection.session(Role.TOOL)
        session.want()
        Soon.until(lambda: session.is_ready)
        with ThreadPoolExecutor(16) as pool:
            permits = list(pool.map(lambda index: cm.tool.perform(token, intent(index)), range(200)))
    assert len({one.fence for one in permits}) == 200


@pytest.mark.parametrize("size", [1, 47_000, 48 * 1024, 60_000])
def test_parts_are_joined_to_messages_that_fit(size: int) -> None:
    """None is lost, none changes its place, and none is cut."""
    parts = [bytes([index]) * (size if index % 3 else 10) for index in range(20)]
    messages = list(_desk.joined(parts))
    assert b"".join(messages) == b"".join(parts)
    assert all(len(one) <= max(48 * 1024, size) for one in messages)
    assert list(_desk.joined([])) == []


def test_no_message_has_more_calls_than_a_sidecar_takes() -> None:
    """However short they are."""
    assert [len(one) for one in _desk.joined([b"x"] * 600)] == [256, 256, 88]


async def test_all_that_is_watched_is_asked_for_again(real: Sidecar) -> None:
    """More than may be under way at a time, after the session broke: every single one is told."""
    heard: list[countermand.CountermandError] = []
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        for _ in range(700):
            await cm.use_token(token).on_stop(heard.append)
        for _ in range(2):
            await AsyncSoon.until(lambda: bool(session._desk) and len(session._desk.watched) == 700, 20)
            session._stream.cancel()
            await AsyncSoon.until(lambda: not session.is_ready)
        await cm.operator.cancel("r-1", reason="USER_STOP")
        await AsyncSoon.until(lambda: len(heard) == 700, 20)
        assert not session._watches


async def test_a_function_that_fails_to_hear_ends_nothing(
    real: Sidecar, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the others hear, and the session goes on."""
    heard: list[countermand.CountermandError] = []
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        session.on_change(lambda _: 1 // 0)
        await cm.use_token(token).on_stop(lambda _: 1 // 0)
        await cm.use_token(token).on_stop(heard.append)
        await AsyncSoon.until(lambda: bool(session._desk) and len(session._desk.watched) == 2)
        await cm.operator.cancel("r-1", reason="USER_STOP")
        await AsyncSoon.until(lambda: bool(heard))
        assert session.is_ready
    assert "ZeroDivisionError" in caplog.text


def test_who_hears_may_end_the_program_and_the_others_hear_on(real: Sidecar) -> None:
    """Blocking: there it ends a thread, as it does in Python; that one is not to be the session's."""
    heard: list[countermand.CountermandError] = []
    with countermand.sync.connect(real.home) as cm:
        for run_id, hears in (("r-1", sys.exit), ("r-2", heard.append)):
            cm.issuer.open(run_id=run_id, agent="a")
            token = cm.issuer.issue(run_id, scopes=["*"]).token
            cm.use_token(token).on_stop(hears)
            cm.operator.cancel(run_id, reason="USER_STOP")
            Soon.until(lambda: not cm.connection.session(Role.TOOL)._watches)
        Soon.until(lambda: bool(heard))


def test_who_hears_may_use_the_client(real: Sidecar) -> None:
    """To settle or abandon is what one does then; it must not wait for the thread that told."""
    done: list[object] = []
    with countermand.sync.connect(real.home) as cm:
        cm.issuer.open(run_id="r-1", agent="a")
        token = cm.issuer.issue("r-1", scopes=["*"]).token
        session = cm.connection.session(Role.TOOL)
        cm.tool.perform(token, intent(1))
        Soon.until(lambda: session.is_ready)
        cm.use_token(token).on_stop(lambda _: done.append(cm.tool.settle(token, "o-1", "SUCCEEDED")))
        cm.operator.cancel("r-1", reason="USER_STOP")
        Soon.until(lambda: bool(done), 1)


async def test_what_is_let_go_of_later_is_let_go_of_there_too(real: Sidecar) -> None:
    """The sidecar answers that it has forgotten it."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        forget = await cm.use_token(token).on_stop(lambda _: None)
        await AsyncSoon.until(lambda: bool(session._desk) and bool(session._desk.watched))
        forget()
        assert session._desk is not None
        assert not session._desk.watched
        assert [one.name for one in session._desk._waiting.values()] == ["unwatch"]
        await AsyncSoon.until(lambda: bool(session._desk) and not session._desk._waiting)


async def test_what_is_let_go_of_before_it_was_answered_is_let_go_of_there_too(real: Sidecar) -> None:
    """A watch costs the sidecar memory until it ends."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        session.want()
        await AsyncSoon.until(lambda: session.is_ready)
        for _ in range(100):
            (await cm.use_token(token).on_stop(lambda _: None))()
        await AsyncSoon.until(lambda: bool(session._desk) and not session._desk._waiting)
        assert not session._watches
        assert session._desk is not None
        assert not session._desk.watched


def test_a_reason_of_a_later_sidecar_is_for_an_operator() -> None:
    """It is told in the sidecar's own words."""
    told = pb.RefusedCall(message="something new; see the manual")
    told.MergeFromString(b"\x08\x8f\x4e")  # reason 9999
    error = _desk.refused(told)
    assert isinstance(error, countermand.AskOperator)
    assert "something new" in str(error)


@pytest.mark.parametrize("timeout", [1e-9, 5e6, float("inf")])
def test_any_deadline_can_be_written(timeout: float) -> None:
    """In milliseconds, as many as there is room for."""
    frame = pb.OpenSessionRequest.FromString(Sealed.write_call(ASK, "perform", 1, timeout))
    assert frame.calls[0].timeout_ms in (1, 5_000_000_000 % 2**32, 2**31)


def test_a_forked_child_has_no_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its threads are gone, so its calls go alone."""
    with grpc.insecure_channel(f"unix:{tmp_path}/nobody.sock") as channel:
        session = _session.Session(channel)
        session._come(_desk.Desk(lambda _: None))
        assert session.want()
        monkeypatch.setattr("os.getpid", lambda: 1)
        assert not session.want()


class _Slow:
    """A channel on which a stream that never says a word is being opened when the client is closed."""

    def __init__(self) -> None:
        self.opening, self.go_on = threading.Event(), threading.Event()
        self.ended_by: list[str] = []
        self._ended = threading.Event()

    def stream_stream(self, _: str) -> "_Slow":
        return self

    def __call__(self, _: Iterator[bytes]) -> "_Slow":
        self.opening.set()
        self.go_on.wait()
        return self

    def cancel(self) -> None:
        self.ended_by.append(threading.current_thread().name)
        self._ended.set()

    def __iter__(self) -> Iterator[bytes]:
        self._ended.wait()
        return iter(())


def test_a_client_that_leaves_leaves_no_thread(real: Sidecar) -> None:
    """Not even one that would have looked later whether anything came."""
    before = set(threading.enumerate())
    with countermand.sync.connect(real.home) as cm:
        cm.issuer.open(run_id="r-1", agent="a")
        token = cm.issuer.issue("r-1", scopes=["*"]).token
        cm.use_token(token).on_stop(lambda _: None)
        Soon.until(lambda: cm.connection.session(Role.TOOL).is_ready)
    Soon.until(lambda: set(threading.enumerate()) <= before, 2)


def test_a_client_that_leaves_does_not_wait_for_a_session_that_is_just_being_opened() -> None:
    """A command that does one thing ends when that is done, and not when nothing has come for seconds."""
    channel = _Slow()
    session = _session.Session(channel)  # type: ignore[arg-type]
    session.want()
    channel.opening.wait()
    leaving = threading.Thread(target=session.close, name="leaving")
    leaving.start()
    leaving.join(0.1)  # it has come as far as it can
    channel.go_on.set()
    leaving.join()
    assert channel.ended_by[0] == "leaving"


def test_a_client_that_leaves_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between the tries are long after a while; a client that is closed is closed."""
    pausing = threading.Event()
    monkeypatch.setattr(_session, "_spread", lambda _: pausing.set() or 30.0)
    channel = _Slow()
    channel.go_on.set()
    channel.cancel()  # every stream ends at once
    session = _session.Session(channel)  # type: ignore[arg-type]
    session.watch(Sealed(pb.WatchRunRequest(run_id="r-1")), lambda _: None)
    pausing.wait()
    session.close()
    assert session._thread is not None
    assert not session._thread.is_alive()
