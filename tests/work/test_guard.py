"""Guarded streams on an event loop: a stop ends them, closes them, and keeps what came."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

import countermand
from countermand import CancellationToken, FixTheCall, Stop, Stopped, StopReason, guard
from countermand.streams import awaiting
from tests.work.support import USER, a_turn


class Source:
    """A provider's stream: says what it is given, then is silent, until it is closed."""

    def __init__(self, *chunks: str, swallows: int = 0) -> None:
        self.chunks, self.swallows, self.closed, self.read = list(chunks), swallows, 0, 0
        self.silence = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        self.read += 1
        if self.chunks:
            return self.chunks.pop(0)
        while True:
            try:
                await self.silence.wait()
            except asyncio.CancelledError:
                if not self.swallows:
                    raise
                self.swallows -= 1
                continue
            raise ConnectionError("closed under its reader")

    async def close(self) -> None:
        self.closed += 1
        self.silence.set()


async def drain(guarded: "countermand.GuardedStream[str]") -> None:
    """Read to the end."""
    async for _ in guarded:
        pass


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_stop_ends_a_silent_stream(in_thread: bool) -> None:
    """From this loop or another thread: the reader wakes up, the stream is closed, what came is kept."""
    token, source = CancellationToken(), Source("a", "b")
    guarded = guard(source, until=token)
    reading = asyncio.create_task(drain(guarded))
    await a_turn(5)
    if in_thread:
        await asyncio.to_thread(token.cancel, USER)
    else:
        token.cancel(USER)
    with pytest.raises(Stopped) as stopped:
        await reading

    assert stopped.value.stop is guarded.stop is USER
    assert (guarded.partial, guarded.text) == (["a", "b"], "ab")
    assert (source.closed, guarded.not_closed, guarded.is_complete) == (1, "", False)


async def test_a_stop_ends_one_that_talks_at_the_next_chunk() -> None:
    """Though it never waits, and so could not be interrupted."""
    token, source = CancellationToken(), Source(*"abcdef")
    guarded = guard(source, until=token)
    with pytest.raises(Stopped):
        async for chunk in guarded:
            if chunk == "b":
                token.cancel(USER)

    assert guarded.partial == ["a", "b"]
    assert source.closed == 1


async def test_a_stop_from_before_reads_nothing() -> None:
    """It is closed unread."""
    token, source = CancellationToken(), Source("a")
    token.cancel(USER)
    with pytest.raises(Stopped):
        await drain(guard(source, until=token))

    assert (source.read, source.closed) == (0, 1)


async def test_while_nobody_reads_it_is_closed_at_once() -> None:
    """Whoever holds it has something else to do, and hears of it at the next chunk."""
    token, source = CancellationToken(), Source(*"abc")
    with pytest.raises(Stopped):
        async with guard(source, until=token) as guarded:
            async for _ in guarded:
                token.cancel(USER)
                await a_turn(5)
                assert source.closed == 1

    assert source.closed == 1


async def test_it_is_stopped_with_its_scope() -> None:
    """And the scope raises its own stop, as for any work."""
    source = Source("a")
    async with countermand.scope("agent") as scope:
        work = scope.spawn(drain, guard(source))
        await a_turn(5)
        receipt = await scope.cancel(USER)

    assert receipt.is_clean
    assert work.state is countermand.WorkState.STOPPED
    assert source.closed == 1


async def test_a_scope_and_a_token_stop_it_alike() -> None:
    """Whichever comes first: in a scope the token alone ends the stream, and the scope goes on."""
    token, source = CancellationToken(), Source("a")
    async with countermand.scope("agent") as scope:
        reading = asyncio.create_task(drain(guard(source, until=token)))
        await a_turn(5)
        token.cancel(USER)
        with pytest.raises(Stopped):
            await reading
        scope.check()


async def test_a_shielded_section_is_not_cut_in_half() -> None:
    """What is read there is read to its end; the stop arrives behind it."""
    chunks: asyncio.Queue[str] = asyncio.Queue()
    got = []

    async def says() -> AsyncIterator[str]:
        while (chunk := await chunks.get()) != "end":
            yield chunk

    async def saves() -> None:
        async with scope.shield():
            got.extend([chunk async for chunk in guard(says())])
        got.append("not struck")

    async with countermand.scope("agent") as scope:
        scope.spawn(saves)
        chunks.put_nowait("a")
        await a_turn(5)
        stopping = scope.cancel(USER)
        for chunk in ("b", "end"):
            chunks.put_nowait(chunk)
        receipt = await stopping

    assert got == ["a", "b"]
    assert receipt.is_clean


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    """It is no stop of ours; the stream is closed all the same."""
    token, source = CancellationToken(), Source("a")
    guarded = guard(source, until=token)
    reading = asyncio.create_task(drain(guarded))
    await a_turn(5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert guarded.stop is None
    assert source.closed == 1


async def test_a_cancellation_from_elsewhere_is_not_lost_in_a_stop() -> None:
    """Both at once: whoever cancelled the task sees it cancelled."""
    token = CancellationToken()
    reading = asyncio.create_task(drain(guard(Source("a"), until=token)))
    await a_turn(5)
    token.cancel(USER)
    asyncio.get_running_loop().call_soon(reading.cancel)  # behind the interrupt, before it is delivered
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_stop_leaves_no_cancellation_behind() -> None:
    """What the reader does next is not struck."""
    token, went_on = CancellationToken(), []

    async def read() -> None:
        with pytest.raises(Stopped):
            await drain(guard(Source("a"), until=token))
        await asyncio.sleep(0)
        went_on.append(asyncio.current_task().cancelling())

    reading = asyncio.create_task(read())
    await a_turn(5)
    token.cancel(USER)
    await reading

    assert went_on == [0]


async def test_one_that_swallows_its_cancellation_is_closed_under_its_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library that catches too much holds up nothing for longer than the patience."""
    monkeypatch.setattr(awaiting, "PATIENCE", 0.02)
    token, source = CancellationToken(), Source("a", swallows=1)
    reading = asyncio.create_task(drain(guard(source, until=token)))
    await a_turn(5)
    token.cancel(USER)
    with pytest.raises(Stopped) as stopped:
        await reading

    assert isinstance(stopped.value.__cause__, ConnectionError)
    assert reading.cancelling() == 0
    assert source.closed == 1


async def test_a_chunk_that_comes_all_the_same_is_kept_and_not_handed_on() -> None:
    """A library that answers an interrupt with a last chunk."""

    async def says() -> AsyncIterator[str]:
        yield "a"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "b"

    token, handed_on = CancellationToken(), []
    guarded = guard(says(), until=token)

    async def read() -> None:
        async for chunk in guarded:
            handed_on.append(chunk.upper())  # noqa: PERF401 - a comprehension would have none at the stop

    reading = asyncio.create_task(read())
    await a_turn(5)
    token.cancel(USER)
    with pytest.raises(Stopped):
        await reading

    assert (handed_on, guarded.partial) == (["A"], ["a", "b"])
    assert guarded.not_closed == ""


@pytest.mark.parametrize("leaves", ["break", "raise"])
async def test_a_loop_that_is_left_closes_it(leaves: str) -> None:
    """At the end of its block, or without one soon after; an exception passes."""
    with_block, without = Source(*"ab"), Source(*"ab")
    try:
        async with guard(with_block) as guarded:
            async for _ in guarded:
                if leaves == "raise":
                    raise ValueError("boom")
                break
    except ValueError:
        assert leaves == "raise"
    assert with_block.closed == 1

    async for _ in guard(without):
        break
    await a_turn(5)
    assert without.closed == 1


async def test_a_loop_that_fails_is_closed_though_its_failure_is_kept() -> None:
    """Without a block, too: no traceback holds the connection open."""
    source, kept = Source(*"ab"), []
    guarded = guard(source)
    try:
        async for _ in guarded:
            raise ValueError("boom")
    except ValueError as failure:
        kept.append(failure)
    await a_turn(5)
    assert source.closed == 1
    assert guarded.partial == ["a"]


async def test_what_nothing_can_stop_is_closed() -> None:
    """Where it cannot be listened for a stop, it is not left open either."""

    class NotIssued:
        def watch(self, _: object) -> None:
            raise FixTheCall("the grant is not issued yet")

    with_block, without = Source("a"), Source("a")
    with pytest.raises(FixTheCall, match="not issued"):
        async with guard(with_block, until=NotIssued()):
            pass
    with pytest.raises(FixTheCall, match="not issued"):
        await drain(guard(without, until=NotIssued()))
    assert (with_block.closed, without.closed, without.read) == (1, 1, 0)


async def test_it_is_closed_though_it_cannot_stop_listening() -> None:
    """The run's client is closed, for instance."""

    class Closed:
        def watch(self, _: object):  # type: ignore[no-untyped-def]
            return self.unwatch

        def unwatch(self) -> None:
            raise OSError("the client is closed")

    source = Source("a")
    async with guard(source, until=Closed()) as guarded:
        async for _ in guarded:
            break
    assert source.closed == 1


async def test_it_is_closed_though_its_reader_is_cancelled_meanwhile() -> None:
    """The close goes on, whoever gives up waiting for it."""
    may_end, closed = asyncio.Event(), []

    async def slow() -> None:
        await may_end.wait()
        closed.append(True)

    async def read() -> None:
        async with guard(Source("a"), close=slow):
            pass

    reading = asyncio.create_task(read())
    await a_turn(5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    may_end.set()
    await a_turn(5)
    assert closed == [True]


async def test_what_cannot_be_closed_is_said() -> None:
    """With the way out; also in the note of the stop."""

    async def fails() -> None:
        raise OSError("no such connection")

    token = CancellationToken()
    guarded = guard(Source("a"), until=token, close=fails)
    token.cancel(USER)
    with pytest.raises(Stopped) as stopped:
        await drain(guarded)
    assert guarded.not_closed == "its close failed: OSError: no such connection"
    assert guarded.not_closed in stopped.value.__notes__[0]

    class Bare:
        def __aiter__(self) -> AsyncIterator[str]:
            return Source("a").__aiter__()

    async with guard(Bare()) as bare:
        pass
    assert bare.not_closed == "Bare has no aclose or close: pass close="


@pytest.mark.parametrize("kind", ["generator", "connection"])
async def test_whoever_reads_is_woken_by_a_close_from_another_task(kind: str) -> None:
    """And is not told that what came was all of it."""
    closed = asyncio.Event()

    async def silent() -> AsyncIterator[str]:
        try:
            yield "a"
            await closed.wait()
        finally:
            closed.set()

    class Connection:
        def __aiter__(self) -> AsyncIterator[str]:
            return silent()

        def close(self) -> None:
            closed.set()

    guarded = countermand.guard(silent() if kind == "generator" else Connection())
    read = asyncio.create_task(drain(guarded))
    while not guarded._cut.is_open or not guarded.partial:  # noqa: ASYNC110 - another task
        await asyncio.sleep(0)
    await guarded.aclose()
    with pytest.raises(countermand.FixTheCall, match="closed while its loop went on"):
        await asyncio.wait_for(read, 5)
    assert closed.is_set()
    assert (guarded.partial, guarded.is_complete, guarded.not_closed) == (["a"], False, "")


async def test_it_forgets_what_could_stop_it() -> None:
    """A token that outlives ten thousand streams holds none of them."""
    token = CancellationToken()
    for _ in range(10):
        async with guard(Source("a"), until=token) as guarded:
            async for _ in guarded:
                break
    assert not token._callbacks


async def test_a_thousand_stopped_streams_leave_nothing() -> None:
    """No task, no callback, and every stream closed."""
    for _ in range(10):
        token, sources = CancellationToken(), [Source("a") for _ in range(100)]
        reading = [asyncio.create_task(drain(guard(source, until=token))) for source in sources]
        await a_turn(5)
        token.cancel(USER)
        ended = await asyncio.gather(*reading, return_exceptions=True)
        assert all(isinstance(one, Stopped) for one in ended)
        assert all(source.closed == 1 for source in sources)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_source_of_stops_stops_it() -> None:
    """Anything whose `watch` calls back with a stop."""

    class Button:
        def watch(self, callback):  # type: ignore[no-untyped-def]
            self.press = callback
            return lambda: None

    button = Button()
    reading = asyncio.create_task(drain(guard(Source("a"), until=button)))
    await a_turn(5)
    threading.Thread(target=button.press, args=(Stop(StopReason.INCIDENT),)).start()
    with pytest.raises(Stopped) as stopped:
        await reading
    assert stopped.value.stop_reason is StopReason.INCIDENT


async def test_wrong_calls_are_refused() -> None:
    """What it cannot read, what cannot stop it, and reading twice."""
    with pytest.raises(FixTheCall, match=r"countermand\.sync\.guard"):
        guard(iter("ab"))  # type: ignore[arg-type]
    with pytest.raises(FixTheCall, match="str cannot stop a stream"):
        async with guard(Source("a"), until="run-7"):  # type: ignore[arg-type]
            pass
    guarded = guard(Source("a"))
    async for _ in guarded:
        break
    with pytest.raises(FixTheCall, match="read already"):
        await drain(guarded)
