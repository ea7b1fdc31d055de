"""The way to Redis: one write a turn, replies matched in order, nothing sent twice, nothing read late."""

import asyncio
import random
import re
import time
from collections.abc import Callable

import pytest
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError, ResponseError

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.store import Durability
from grant_service.store.dial import Dial
from grant_service.store.link import Call, LinkBroken, PipeliningLink
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import scripts
from tests.redis.proxy import Proxy, proxy_before
from tests.redis.support import Desk
from tests.support.redis_server import RedisServer

NONCE = re.compile(rb"\$12\r\n([0-9a-f]{12})\r\n")


def link_to(url: str, timeout: float = 2.0) -> PipeliningLink:
    """A link of its own."""
    return Dial(url, scripts().values(), Durability.SYNCED, timeout).link()


async def store_behind(proxy: Proxy, server: RedisServer, timeout: float = 2.0) -> RedisStore:
    """A store whose decisions go through the proxy, while its cancels and reads do not."""
    store = RedisStore(link_to(proxy.url, timeout), control=link_to(server.url))
    await Desk(store).ready()
    return store


def processed(server: RedisServer) -> int:
    """How many commands the server has seen so far, those of this client included."""
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


async def test_a_connection_is_tried_once(server: RedisServer) -> None:
    """The driver's own repeating is off: a log-in that breaks off is not tried again."""
    async with proxy_before(server) as proxy:
        proxy.cut_after(b"WRONGPASS")
        link = link_to(proxy.url.replace("unix://", "unix://nobody:x@"))
        with pytest.raises(LinkBroken):
            await link.call("PING")
        assert proxy.connections == 1
        await link.close()


async def test_connecting_has_a_limit_of_its_own(server: RedisServer) -> None:
    """A server that accepts and is silent is given up before the calls that wait for it are."""
    async with proxy_before(server) as proxy:
        proxy.open.clear()

        async def greet(ask: Call) -> None:
            await ask("PING")

        link = PipeliningLink(
            lambda: UnixDomainSocketConnection(path=str(proxy.path), protocol=2, socket_timeout=None),
            greet,
            connect_timeout=0.1,
            command_timeout=5.0,
        )
        started = time.monotonic()
        with pytest.raises(LinkBroken):
            await link.call("PING")
        assert time.monotonic() - started < 3.0
        await link.close()


async def test_calls_of_one_turn_leave_in_one_write(server: RedisServer) -> None:
    """A hundred callers cost one read of Redis, and each gets his own reply."""
    link = link_to(server.url)
    await link.call("PING")
    with server.client() as client:
        before = client.info("stats")["total_reads_processed"]
        replies = await asyncio.gather(*(link.call("ECHO", number) for number in range(100)))
        reads = client.info("stats")["total_reads_processed"] - before
    assert replies == [str(number) for number in range(100)]
    assert reads == 2, "one for the hundred, one for the side's own question"
    await link.close()


async def test_an_error_reply_reaches_its_own_caller_only(server: RedisServer) -> None:
    """What Redis refuses to one caller does not break the connection for the others."""
    link = link_to(server.url)
    calls = (link.call("ECHO", "a"), link.call("NO-SUCH-COMMAND"), link.call("ECHO", "b"))
    first, error, last = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(error, ResponseError)
    await link.close()


async def test_ten_thousand_callers_leave_and_no_reply_goes_astray(server: RedisServer) -> None:
    """Whoever goes away leaves his reply behind; nobody else ever gets it."""
    link, dice, kept = link_to(server.url), random.Random(7), 0

    async def ask(number: int) -> None:
        assert await link.call("ECHO", number) == str(number)

    for start in range(0, 10_000, 100):
        tasks = [asyncio.create_task(ask(number)) for number in range(start, start + 100)]
        for task in dice.sample(tasks, 50):
            asyncio.get_running_loop().call_later(dice.uniform(0, 0.002), task.cancel)
        if dice.random() < 0.5:
            await asyncio.sleep(0)
            tasks[dice.randrange(100)].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        kept += sum(result is None for result in ended)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in ended)
    assert 1_000 < kept < 9_990, "both must have happened often: leaving and staying"
    with server.client() as client:
        assert client.info("commandstats")["cmdstat_echo"]["calls"] >= 10_000, "leaving took no command back"
    await link.close()


async def test_a_caller_who_leaves_does_not_take_the_decision_back(store: RedisStore) -> None:
    """The command is on its way: what it decides is on record, and asking again tells."""
    desk = await Desk(store).ready()
    task = asyncio.create_task(desk.perform())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await desk.perform()
    assert isinstance(answer, verbs.Permitted)
    assert answer.replayed
    assert (await desk.kinds()).count("PERMITTED") == 1


async def test_a_lost_reply_is_decided_once_and_told_when_asked_again(server: RedisServer) -> None:
    """Redis permits and the reply is lost: nobody repeats the call; who asks again gets the permit."""
    async with proxy_before(server) as proxy:
        store = await store_behind(proxy, server)
        desk = Desk(store)
        for number in range(20):
            op = f"o-{number}"
            proxy.cut_after(b"PERMITTED")
            with pytest.raises(StoreFailed) as failed:
                await desk.perform(op)
            assert failed.value.refusal.reason is ErrorReason.STORE_UNAVAILABLE
            again = await desk.perform(op)
            assert isinstance(again, verbs.Permitted)
            assert again.replayed
        assert (await desk.kinds()).count("PERMITTED") == 20
        await store.close()


async def test_a_broken_connection_fails_all_that_wait_on_it(server: RedisServer) -> None:
    """Not one of them may be left hanging, or be sent again; the next call gets a new connection."""
    async with proxy_before(server) as proxy:
        link = link_to(proxy.url)
        await link.call("PING")
        calls = [asyncio.create_task(link.call("ECHO", number)) for number in range(50)]
        proxy.cut_after(b"$1\r\n0\r\n")
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, LinkBroken) for result in ended)
        assert await link.call("ECHO", "new") == "new"
        assert proxy.connections == 2
        await link.close()


async def test_a_late_reply_reaches_nobody(server: RedisServer) -> None:
    """When its time is up the connection is dropped: what comes over it later is never read."""
    async with proxy_before(server) as proxy:
        link = link_to(proxy.url, timeout=0.2)
        await link.call("PING")
        proxy.open.clear()
        started = time.monotonic()
        with pytest.raises(LinkBroken) as broken:
            await link.call("ECHO", "late")
        assert 0.15 < time.monotonic() - started < 2.0
        assert "within 0.2 s" in str(broken.value.__cause__)
        proxy.open.set()
        assert [await link.call("ECHO", number) for number in range(3)] == ["0", "1", "2"]
        await link.close()


async def test_waiting_for_the_connection_counts(server: RedisServer) -> None:
    """Callers who wait while the link connects are told within the same time."""
    async with proxy_before(server) as proxy:
        proxy.open.clear()
        link = link_to(proxy.url, timeout=0.2)
        started = time.monotonic()
        ended = await asyncio.gather(*(link.call("PING") for _ in range(5)), return_exceptions=True)
        assert time.monotonic() - started < 2.0
        assert all(isinstance(result, LinkBroken) for result in ended)
        assert proxy.connections == 1
        await link.close()


def another_nonce(reply: bytes) -> bytes:
    """Give the reply the echo of another call."""
    found = NONCE.search(reply)
    assert found
    return reply.replace(found[1], b"%012x" % (int(found[1], 16) ^ 1))


def another_word(reply: bytes) -> bytes:
    """Give the reply a word the verb does not know."""
    return reply.replace(b"PERMITTED", b"PERMUTTED")


def another_shape(reply: bytes) -> bytes:
    """Answer with a number."""
    return b":1\r\n"


def nothing_known(reply: bytes) -> bytes:
    """Answer that there is nothing."""
    return b"$-1\r\n"


def one_more(reply: bytes) -> bytes:
    """Answer to somebody who has not asked, first."""
    return b"+OK\r\n" + reply


def no_text(reply: bytes) -> bytes:
    """Answer with bytes that are no text."""
    return reply.replace(b"PERMITTED", b"PERM\xff\xfeTED")


def no_protocol(reply: bytes) -> bytes:
    """Answer in another language."""
    return b"HTTP/1.1 200 OK\r\n\r\n"


def no_number(reply: bytes) -> bytes:
    """Answer with a permit whose use-by is none."""
    return re.sub(rb"\$13\r\n\d{13}\r\n", b"$13\r\n1234567890_.-\r\n", reply)


@pytest.mark.parametrize(
    "change",
    [
        another_nonce,
        another_word,
        another_shape,
        nothing_known,
        one_more,
        no_text,
        no_protocol,
        no_number,
    ],
)
async def test_a_reply_that_is_not_what_was_agreed_is_refused(
    server: RedisServer, change: Callable[[bytes], bytes]
) -> None:
    """Doubt means no: the caller hears that nothing is known, and the connection is not used again."""
    async with proxy_before(server) as proxy:
        store = await store_behind(proxy, server)
        desk = Desk(store)
        assert isinstance(await desk.perform("o-0"), verbs.Permitted)
        proxy.change_once(change)
        with pytest.raises(StoreFailed) as failed:
            await desk.perform()
        assert failed.value.refusal.reason is ErrorReason.STORE_UNAVAILABLE
        assert failed.value.__cause__ is not None
        again = await desk.perform()
        assert isinstance(again, verbs.Permitted)
        assert again.replayed
        assert proxy.connections == 2
        await store.close()


async def test_without_tampering_the_connection_is_kept(server: RedisServer) -> None:
    """The negative control of the test above: an untouched reply is taken, on the same connection."""
    async with proxy_before(server) as proxy:
        store = await store_behind(proxy, server)
        proxy.change_once(lambda reply: reply)
        answer = await Desk(store).perform()
        assert isinstance(answer, verbs.Permitted)
        assert not answer.replayed
        assert proxy.connections == 1
        await store.close()


async def test_a_reply_nobody_asked_for_ends_the_connection(server: RedisServer) -> None:
    """An idle link that hears something is out of step: the next call must not be given it."""
    async with proxy_before(server) as proxy:
        link = link_to(proxy.url)
        await link.call("PING")
        proxy.invent(b"+OK\r\n")
        await asyncio.sleep(0.02)
        assert await link.call("ECHO", "mine") == "mine"
        assert proxy.connections == 2
        await link.close()


async def test_replies_in_the_wrong_order_are_noticed(server: RedisServer) -> None:
    """Two permits swapped on their way: neither caller gets the other's."""
    async with proxy_before(server) as proxy:
        store = await store_behind(proxy, server)
        desk = Desk(store)

        def swap(reply: bytes) -> bytes:
            first, second = reply.split(b"*6\r\n")[1:]
            return b"*6\r\n" + second + b"*6\r\n" + first

        proxy.change_once(swap)
        ended = await asyncio.gather(desk.perform("o-1"), desk.perform("o-2"), return_exceptions=True)
        assert all(isinstance(result, StoreFailed) for result in ended)
        await store.close()


async def test_a_read_out_of_step_is_noticed(server: RedisServer) -> None:
    """A run's record under another run's name, or one reply too many, is not reported as true."""
    async with proxy_before(server) as proxy:
        store = RedisStore(link_to(server.url), control=link_to(proxy.url))
        desk = await Desk(store).ready()
        changes = (one_more, lambda reply: reply.replace(b"r-1", b"r-2"), another_nonce)
        for change in changes:
            proxy.change_once(change)
            with pytest.raises(StoreFailed):
                await store.runs([desk.run])
            assert (await store.runs([desk.run]))[0] is not None
        await store.close()


async def test_a_stuck_queue_of_decisions_does_not_delay_a_cancel(server: RedisServer) -> None:
    """Cancel and reports have a connection of their own."""
    async with proxy_before(server) as proxy:
        store = await store_behind(proxy, server, timeout=30.0)
        desk = Desk(store)
        proxy.open.clear()
        waiting = [asyncio.create_task(desk.perform(f"o-{number}")) for number in range(200)]
        await asyncio.sleep(0.01)
        assert (await desk.cancel()).known
        assert await desk.kinds() == ["OPENED", "ISSUED", "CANCELLED"]
        assert not any(call.done() for call in waiting)
        proxy.open.set()
        for answer in await asyncio.gather(*waiting):
            assert answer.reason is ErrorReason.REVOKED
        await store.close()


async def test_connect_makes_two_connections(server: RedisServer) -> None:
    """The store made from a URL has both links."""
    with server.client() as client:
        before = len(client.client_list())
        store = await RedisStore.connect(server.url)
        assert len(client.client_list()) == before + 2
        await store.close()
        await asyncio.sleep(0.02)
        assert len(client.client_list()) == before


async def test_scripts_that_redis_forgot_are_loaded_again(server: RedisServer, store: RedisStore) -> None:
    """SCRIPT FLUSH between and during calls costs a round trip, never an answer."""
    desk = await Desk(store).ready()
    with server.client() as client:
        client.script_flush()
        assert isinstance(await desk.prepare(), verbs.Prepared)
        for round_ in range(20):
            ops = [f"o-{round_}-{number}" for number in range(10)]
            calls = [asyncio.create_task(desk.perform(op)) for op in ops]
            client.script_flush()
            for answer in await asyncio.gather(*calls):
                assert isinstance(answer, verbs.Permitted)
                assert not answer.replayed
    assert (await desk.kinds()).count("PERMITTED") == 200


async def test_closing_waits_for_what_is_under_way(server: RedisServer) -> None:
    """Whoever has asked before gets an answer; whoever asks afterwards is refused."""
    store = await RedisStore.connect(server.url)
    desk = await Desk(store).ready()
    calls = [asyncio.create_task(desk.perform(f"o-{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert all(isinstance(answer, verbs.Permitted) for answer in await asyncio.gather(*calls))
    with pytest.raises(StoreFailed) as failed:
        await desk.perform()
    assert failed.value.refusal.reason is ErrorReason.STORE_UNAVAILABLE
    await store.close()


async def test_closing_a_link_that_was_never_used_or_is_broken() -> None:
    """There is nothing to wait for."""
    link = link_to("unix:///nowhere/redis.sock")
    await link.close()
    broken = link_to("unix:///nowhere/redis.sock")
    with pytest.raises(ConnectionError):
        await broken.call("PING")
    await broken.close()


async def test_what_cannot_be_sent_fails_its_own_caller_only(server: RedisServer) -> None:
    """Text that is no text never reaches the wire."""
    link = link_to(server.url)
    good = asyncio.create_task(link.call("ECHO", "good"))
    with pytest.raises(UnicodeEncodeError):
        await link.call("ECHO", "\ud800")
    assert await good == "good"
    await link.close()


async def test_a_crash_in_mid_flight_is_unknown_and_then_over(own_server: RedisServer) -> None:
    """SIGKILL under load: each caller gets an answer or hears that nothing is known; then it goes on."""
    store = await RedisStore.connect(own_server.url)
    desk = await Desk(store).ready()
    calls = [asyncio.create_task(desk.perform(f"o-{number}")) for number in range(500)]
    await asyncio.sleep(0.005)
    own_server.kill()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    accepted = [answer for answer in ended if isinstance(answer, verbs.Permitted)]
    unknown = [answer for answer in ended if isinstance(answer, StoreFailed)]
    assert len(accepted) + len(unknown) == 500
    assert unknown, "the crash came too late to prove anything"
    with pytest.raises(StoreFailed):
        await desk.perform()
    own_server.start()
    permitted = {entry.seq for entry in await store.journal("r-1", 0, 5_000) if entry.kind == "PERMITTED"}
    assert {answer.fence for answer in accepted} <= permitted, "what was answered is on disk"
    settled = await desk.settle("o-0", ActionState.UNKNOWN)
    assert isinstance(settled, verbs.Settled) or not permitted
    await store.close()
