"""A session that comes back: what was missed meanwhile is told before anything is answered on it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

import countermand
from countermand import _desk, _session
from countermand._address import Role
from countermand._rpcs import PERFORM, Sealed
from countermand.testing import Sidecar
from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import session_service_pb2 as pb
from tests.client.support import AsyncSoon, Soon

#: More than are asked for at a time; of all of them the last one is stopped.
WATCHED = 150


class Later:
    """A stream that is opened once it may be."""

    def __init__(self, gate: threading.Event, make: Callable[[], Any]) -> None:
        self._gate, self._make, self._real = gate, make, None

    async def read(self) -> Any:
        """Open it, then read."""
        await AsyncSoon.until(self._gate.is_set)
        self._real = self._real or self._make()
        return await self._real.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name) if self._real else lambda *_: None


def _asked_last(order: list[str]) -> Callable[[Any, Any], None]:
    """The defect: calls travel at once, and what was watched is asked for when they have been answered."""

    as_it_is = _session._Either._come

    def come(self: Any, desk: Any) -> None:
        if not any(one.position for one in self._watches):
            return as_it_is(self, desk)
        with self._lock:
            self._desk, self._asking, self._to_ask = desk, 0, _session.deque(self._watches)

        def ask() -> None:
            if "answer" in order:
                self._ask_some()
            else:
                self._later(0.01, ask)

        ask()
        return self._use(desk)

    return come


@pytest.fixture(params=[False, True], ids=["as it is", "control"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What came in which order. In the control with a defect, of which these tests must take note."""
    order: list[str] = []
    if request.param:
        monkeypatch.setattr(_session._Either, "_come", _asked_last(order))
    yield order
    assert set(order) == {"stop", "answer"}
    assert order[0] == ("answer" if request.param else "stop")


def _perform(token: Any, index: int) -> Sealed[Any]:
    kind = action_pb.REVERSIBILITY_IRREVERSIBLE
    intent = action_pb.Intent(op_id=f"o-{index}", action="email.send", digest=bytes(32), reversibility=kind)
    return Sealed(action_pb.PerformActionRequest(intent=intent), token)


def _tokens(real: Sidecar) -> list[Any]:
    """Tokens of a run that goes on and of one that will not."""
    with real.connect_sync() as cm:
        for run_id in ("r-0", "r-1"):
            cm.issuer.open(run_id=run_id, agent="a")
        return [cm.issuer.issue(run_id, scopes=["*"]).token for run_id in ("r-0", "r-1")]


def _cancel(real: Sidecar) -> None:
    with real.connect_sync() as cm:
        cm.operator.cancel("r-1", reason="USER_STOP")


async def test_a_stop_that_was_missed_comes_before_all_answers(real: Sidecar, order: list[str]) -> None:
    """On an event loop: whoever waits for the session to be there asks over it only then."""
    on, stopped = _tokens(real)
    gate = threading.Event()
    async with countermand.connect(real.home) as cm:
        session = cm.connection.session(Role.TOOL)
        for _ in range(WATCHED):
            await cm.use_token(on).on_stop(lambda _: order.append("wrong"))
        await cm.use_token(stopped).on_stop(lambda _: order.append("stop"))
        await AsyncSoon.until(lambda: bool(session._desk) and len(session._desk.watched) == WATCHED + 1)
        opened = session._open
        session._open = lambda: Later(gate, opened)
        session._stream.cancel()
        await AsyncSoon.until(lambda: not session.is_ready)
        await asyncio.to_thread(_cancel, real)

        async def call(index: int) -> None:
            await AsyncSoon.until(lambda: session.is_ready)
            await session.call(PERFORM, _perform(on, index), 5)
            order.append("answer")

        calls = [asyncio.ensure_future(call(index)) for index in range(10)]
        assert not order
        gate.set()
        await asyncio.gather(*calls)
        await AsyncSoon.until(lambda: "stop" in order)


def test_a_stop_that_was_missed_comes_before_all_answers_to_threads(real: Sidecar, order: list[str]) -> None:
    """In blocking code: it is not only on its way, it was heard."""
    on, stopped = _tokens(real)
    gate = threading.Event()
    with countermand.sync.connect(real.home) as cm, ThreadPoolExecutor(10) as pool:
        session = cm.connection.session(Role.TOOL)
        for _ in range(WATCHED):
            cm.use_token(on).on_stop(lambda _: order.append("wrong"))
        cm.use_token(stopped).on_stop(lambda _: order.append("stop"))
        Soon.until(lambda: bool(session._desk) and len(session._desk.watched) == WATCHED + 1)
        opened = session._open
        session._open = lambda messages: gate.wait(10) and opened(messages)
        session._stream.cancel()
        Soon.until(lambda: not session.is_ready)
        _cancel(real)

        def call(index: int) -> None:
            Soon.until(lambda: session.is_ready)
            session.call(PERFORM, _perform(on, index), 5)
            order.append("answer")

        calls = [pool.submit(call, index) for index in range(10)]
        assert not order
        gate.set()
        for one in calls:
            one.result(10)
        Soon.until(lambda: "stop" in order)


@pytest.mark.parametrize("older", [True, False], ids=["older", "newer"])
async def test_a_push_that_is_older_than_what_is_known_is_no_news(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    """It was told late, of what goes on by now: the sidecar is asked how it stands, and that is believed."""
    on, _ = _tokens(real)
    told: list[countermand.CountermandError] = []
    async with countermand.connect(real.home) as cm:
        session = cm.connection.session(Role.TOOL)
        await cm.use_token(on).on_stop(told.append)
        await AsyncSoon.until(lambda: bool(session._desk) and len(session._desk.watched) == 1)
        assert session._desk is not None
        [(number, watched)] = session._desk.watched.items()
        assert watched.position is not None
        seq = watched.position.seq + (-1 if older else 1)
        position = pb.Position(store_epoch=watched.position.store_epoch, seq=seq)
        stop = pb.Stop(watch_id=number, run_id="r-0", refusal=pb.RefusedCall(reason=1), position=position)
        session._take(session._desk, pb.OpenSessionResponse(stops=[stop]).SerializeToString())
        assert len(told) == (0 if older else 1)
        if older:
            await AsyncSoon.until(lambda: watched.number > number)
            await cm.operator.cancel("r-0", reason="USER_STOP")
            await AsyncSoon.until(lambda: len(told) == 1)


async def test_a_client_watches_again_from_where_it_was(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says as of where it knew that it goes on; each answer moves that on."""
    on, _ = _tokens(real)
    asked, ask = list[int](), _desk.Desk.ask

    def noting(desk: Any, name: str, sealed: Any, *more: Any) -> None:
        asked.append(sealed._request.after.seq)
        ask(desk, name, sealed, *more)

    monkeypatch.setattr(_desk.Desk, "ask", noting)
    known: list[int] = []
    async with countermand.connect(real.home) as cm:
        session = cm.connection.session(Role.TOOL)
        await cm.use_token(on).on_stop(lambda _: None)
        for _ in range(3):
            await AsyncSoon.until(lambda: bool(session._desk) and len(session._desk.watched) == 1)
            assert session._desk is not None
            (watched,) = session._desk.watched.values()
            assert watched.position is not None
            known.append(watched.position.seq)
            await cm.issuer.open()  # something is written
            session._stream.cancel()
            await AsyncSoon.until(lambda: session._desk is None)
    assert known == sorted(set(known))
    assert asked[:3] == [0, *known[:2]]


def test_a_watch_that_was_put_off_has_no_answer_yet(tmp_path: Path) -> None:
    """A sidecar that is too busy to say how it stands has not said that it goes on."""
    asked: list[Any] = []
    with grpc.insecure_channel(f"unix:{tmp_path}/nobody.sock") as channel:
        session = _session.Session(channel)
        session._never = True  # nobody is there: it is played here
        session.watch(Sealed(pb.WatchRunRequest(run_id="r-1")), lambda _: None)
        session._come(_desk.Desk(asked.append))
        asked[0].future.set_exception(countermand.Overloaded("too busy"))
        Soon.until(lambda: len(asked) == 2)
        assert not session.is_ready
        asked[1].future.set_result(pb.WatchRunResponse(run_id="r-1", watch_id=1))
        Soon.until(lambda: session.is_ready)
        session.close()
