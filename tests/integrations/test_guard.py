"""Guarded streams of the real SDKs: after a stop the connection is closed, and the provider sends no more."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import countermand
import countermand.sync
from countermand import CancellationToken, Stop, Stopped, StopReason
from tests.integrations.openers import (
    ASYNC,
    BLOCKING,
    LISTEN,
    TALKS,
    Opens,
    assert_it_was_stopped,
    chat,
    chat_blocking,
    responses,
)
from tests.integrations.provider import SAYS, Provider

pytestmark = pytest.mark.usefixtures("closing")

USER = Stop(StopReason.USER_STOP, note="enough")


async def _until(it_is_so: Callable[[], Any]) -> None:
    for _ in range(2000):
        if it_is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not in 10s")


async def _until_it_talked(guarded: "countermand.GuardedStream[Any]") -> None:
    await _until(lambda: guarded.text.count("a") >= SAYS)


@ASYNC
@TALKS
async def test_a_stop_closes_the_connection(fake: Provider, opens: Opens, model: str) -> None:
    """By a token, from another task; what came before is kept."""
    token = CancellationToken()
    guarded = countermand.guard(await opens(fake.url, model), until=token)

    async def read() -> None:
        async with guarded:
            async for _ in guarded:
                pass

    reading = asyncio.create_task(read())
    await _until_it_talked(guarded)
    stopped_at = time.monotonic()
    token.cancel(USER)
    with pytest.raises(Stopped) as stopped:
        await reading

    assert stopped.value.stop is USER
    assert guarded.not_closed == ""
    assert not guarded.is_complete
    await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)
    assert guarded.text.count("a") <= len(fake.last.sent)


@ASYNC
@TALKS
async def test_a_scope_that_is_cancelled_stops_its_streams(fake: Provider, opens: Opens, model: str) -> None:
    """Nothing has to be said for it; the receipt names the reader among what stopped."""
    guarded: list[Any] = []

    async def read() -> None:
        async with countermand.guard(await opens(fake.url, model)) as stream:
            guarded.append(stream)
            async for _ in stream:
                pass

    async with countermand.scope("agent") as scope:
        scope.spawn(read, kind="llm")
        await _until(lambda: bool(guarded))
        await _until_it_talked(guarded[0])
        stopped_at = time.monotonic()
        receipt = await scope.cancel(USER)

    assert [node.name for node in receipt.stopped] == ["read"]
    assert guarded[0].not_closed == ""
    await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)


@ASYNC
async def test_a_stop_while_nobody_reads_closes_it_too(fake: Provider, opens: Opens) -> None:
    """The agent is busy with a chunk; the provider does not talk on meanwhile."""
    token = CancellationToken()
    with pytest.raises(Stopped):
        async with countermand.guard(await opens(fake.url, "chatty"), until=token) as guarded:
            async for _ in guarded:
                if len(fake.last.sent) >= SAYS and not token.is_cancelled:
                    stopped_at = time.monotonic()
                    token.cancel(USER)
                    await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)


@ASYNC
async def test_a_loop_that_is_left_closes_it(fake: Provider, opens: Opens) -> None:
    """Also by a bare `break`, without `async with`."""
    stream = await opens(fake.url, "chatty")
    async for _ in countermand.guard(stream):
        if len(fake.last.sent) >= SAYS:
            break
    stopped_at = time.monotonic()
    await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)


async def test_without_the_guard_it_talks_on(fake: Provider) -> None:
    """Negative control: a bare `break` leaves the connection open, and the provider sends on."""
    stream = await chat(fake.url, "chatty")
    async for _ in stream:
        break
    left_at = time.monotonic()
    assert not await asyncio.to_thread(fake.last.is_closed_within, 4 * LISTEN)
    assert fake.last.sent_after(left_at + LISTEN) > SAYS
    await stream.close()


@ASYNC
async def test_one_that_ends_by_itself_is_whole(fake: Provider, opens: Opens) -> None:
    """All of its chunks, its text, and its tokens, if the provider tells them."""
    async with countermand.guard(await opens(fake.url, "brief")) as guarded:
        chunks = [chunk async for chunk in guarded]

    assert guarded.is_complete
    assert guarded.partial == chunks
    assert guarded.text == "a" * SAYS
    told = {chat: None, responses: (7, SAYS, 4, 1)}.get(opens, (7, SAYS, 4, 0))
    usage = guarded.usage
    assert (usage and (usage.input, usage.output, usage.cached, usage.reasoning)) == told


# -- clients that block


@BLOCKING
@TALKS
def test_a_blocked_read_is_broken(fake: Provider, opens: Callable[..., Any], model: str) -> None:
    """A thread that waits for a silent provider comes back at once, and the provider sees it hang up."""
    token, ended = CancellationToken(), []
    guarded = countermand.sync.guard(opens(fake.url, model), until=token)

    def read() -> None:
        try:
            for _ in guarded:
                pass
        except Stopped as stopped:
            ended.append((stopped, time.monotonic()))

    thread = threading.Thread(target=read)
    thread.start()
    while guarded.text.count("a") < SAYS:
        time.sleep(0.005)
    stopped_at = time.monotonic()
    token.cancel(USER)
    thread.join(10)

    ((stopped, ended_at),) = ended
    assert stopped.stop is USER
    assert ended_at - stopped_at < 0.9  # well before the patience is over: it was woken, and not given up
    assert guarded.not_closed == ""
    assert_it_was_stopped(fake.last, stopped_at)
    assert not [one.name for one in threading.enumerate() if one.name.startswith("countermand-stream")]


@BLOCKING
def test_a_blocking_loop_that_is_left_closes_it(fake: Provider, opens: Callable[..., Any]) -> None:
    """By a bare `break`."""
    for _ in countermand.sync.guard(opens(fake.url, "chatty")):
        if len(fake.last.sent) >= SAYS:
            break
    assert_it_was_stopped(fake.last, time.monotonic())


@BLOCKING
def test_a_blocking_one_that_ends_by_itself_is_whole(fake: Provider, opens: Callable[..., Any]) -> None:
    """All of its chunks, and its text."""
    with countermand.sync.guard(opens(fake.url, "brief")) as guarded:
        assert list(guarded) == guarded.partial
    assert guarded.is_complete
    assert guarded.text == "a" * SAYS


def test_closing_the_client_does_not_wake_its_reader(fake: Provider) -> None:
    """Negative control: what the SDK has for it leaves a blocked read asleep, and the connection open."""
    stream = chat_blocking(fake.url, "silent")
    got: list[Any] = []
    ended = threading.Event()

    def read() -> None:
        try:
            got.extend(iter(stream.__next__, None))
        except Exception:
            ended.set()

    threading.Thread(target=read, daemon=True).start()
    while len(got) < SAYS:
        time.sleep(0.005)
    time.sleep(0.3)  # it sleeps in its read by now, also on a machine that is busy
    threading.Thread(target=stream.close, daemon=True).start()
    assert not ended.wait(0.5)
    assert not fake.last.closed.is_set()


async def test_a_scope_stops_a_stream_in_a_thread(fake: Provider) -> None:
    """The thread knows the scope it was started in."""
    guarded: list[Any] = []

    def read() -> None:
        with countermand.sync.guard(chat_blocking(fake.url, "silent")) as stream:
            guarded.append(stream)
            for _ in stream:
                pass

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            scope.spawn(asyncio.to_thread, read, name="thread")
            await _until(lambda: guarded and guarded[0].text.count("a") >= SAYS)
            stopped_at = time.monotonic()
            scope.cancel(USER)

    assert stopped.value.stop is USER
    await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)
