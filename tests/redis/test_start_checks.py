"""What a Redis must be before the sidecar serves on it, and the line that makes it so."""

import asyncio
import time
from pathlib import Path

import pytest

from grant_service.core.errors import ErrorReason, StoreFailed, explain
from grant_service.core.store import Durability
from grant_service.store.fitness import examine
from grant_service.store.redis import RedisStore
from tests.redis.proxy import proxy_before
from tests.support.redis_server import RedisServer, redis_running

EVICTING = (
    "volatile-lru",
    "allkeys-lru",
    "volatile-lfu",
    "allkeys-lfu",
    "volatile-random",
    "allkeys-random",
    "volatile-ttl",
)
PRIMARY = {"redis_version": "7.0.15", "redis_mode": "standalone", "role": "master"} | {
    "maxmemory_policy": "noeviction",
    "loading": "0",
}


async def refused(url: str, accept: Durability = Durability.SYNCED) -> StoreFailed:
    """Connect, and expect not to be served."""
    with pytest.raises(StoreFailed) as failed:
        await RedisStore.connect(url, accept_durability=accept)
    return failed.value


async def connects(url: str, accept: Durability = Durability.SYNCED) -> Durability:
    """Connect, and say how durable the store is."""
    store = await RedisStore.connect(url, accept_durability=accept)
    standing = await store.standing()
    await store.close()
    return standing.durability


def follow(server: RedisServer, failed: StoreFailed) -> None:
    """Do what the refusal says, word by word."""
    line = failed.refusal.details["remedy"].split(";")[0]
    assert line.startswith("run: redis-cli ")
    with server.client() as client:
        client.execute_command(*line.removeprefix("run: redis-cli ").split())


async def test_a_fit_server_is_served_and_its_durability_told(server: RedisServer) -> None:
    """With everything as it should be, nothing is refused."""
    assert await connects(server.url) is Durability.SYNCED


@pytest.mark.parametrize("policy", EVICTING)
async def test_a_server_that_may_evict_is_refused_with_the_line_that_helps(
    server: RedisServer, policy: str
) -> None:
    """Each of the seven other policies could take a revocation away; following the line makes it fit."""
    with server.client() as client:
        client.config_set("maxmemory-policy", policy)
    failed = await refused(server.url, Durability.VOLATILE)
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in explain(failed.refusal)
    follow(server, failed)
    assert await connects(server.url) is Durability.SYNCED


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("appendonly", "no", Durability.VOLATILE),
        ("appendfsync", "no", Durability.VOLATILE),
        ("no-appendfsync-on-rewrite", "yes", Durability.VOLATILE),
        ("appendfsync", "everysec", Durability.EVERY_SECOND),
    ],
)
async def test_weaker_durability_is_refused_unless_accepted(
    server: RedisServer, name: str, value: str, found: Durability
) -> None:
    """What may forget a cancel is used only by somebody who said so; following the line makes it fit."""
    with server.client() as client:
        client.config_set(name, value)
    failed = await refused(server.url)
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert f"durability {found}" in failed.refusal.details["cause"]
    assert await connects(server.url, found) is found
    follow(server, failed)
    assert await connects(server.url) is Durability.SYNCED


async def test_every_second_does_not_cover_volatile(server: RedisServer) -> None:
    """Accepting one weaker tier does not accept the next."""
    with server.client() as client:
        client.config_set("appendonly", "no")
    failed = await refused(server.url, Durability.EVERY_SECOND)
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT


async def test_hidden_configuration_counts_as_volatile(server: RedisServer) -> None:
    """A user who may not see CONFIG cannot prove durability; whoever accepts that is served."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-config")
    url = server.url.replace("unix://", "unix://blind:pw@")
    failed = await refused(url, Durability.EVERY_SECOND)
    assert "hidden" in failed.refusal.details["cause"]
    assert await connects(url, Durability.VOLATILE) is Durability.VOLATILE


async def test_a_replica_is_refused(server: RedisServer) -> None:
    """A replica may be behind."""
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        failed = await refused(server.url, Durability.VOLATILE)
        client.replicaof("NO", "ONE")
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert "replica" in explain(failed.refusal)


async def test_a_cluster_node_is_refused(tmp_path: Path) -> None:
    """Redis Cluster is not supported, and says so at the start instead of at the first commit."""
    with redis_running(tmp_path / "node", "--cluster-enabled", "yes") as node:
        failed = await refused(node.url, Durability.VOLATILE)
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert "cluster mode" in failed.refusal.details["cause"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14"),
        ({"redis_version": "7.2.4", "valkey_version": "7.0.9"}, "Valkey 7.0.9"),
        ({"redis_version": "unstable"}, "Redis unstable"),
        ({"redis_version": ""}, "Redis ?"),
        ({"redis_mode": "sentinel"}, "sentinel mode"),
        ({"role": "slave"}, "replica"),
        ({"role": ""}, "replica"),
        ({"maxmemory_policy": ""}, "may evict"),
    ],
)
async def test_a_server_that_is_not_what_we_need_is_refused(change: dict[str, str], said: str) -> None:
    """An old version, another mode, or an answer we do not understand: all refused."""
    with pytest.raises(StoreFailed) as failed:
        await examine(_asked(PRIMARY | change), Durability.SYNCED)
    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    assert said in failed.value.refusal.details["cause"]
    assert failed.value.refusal.details["remedy"]


@pytest.mark.parametrize("change", [{}, {"valkey_version": "7.2.5"}, {"redis_version": "10.0.1"}])
async def test_supported_versions_are_served(change: dict[str, str]) -> None:
    """Redis from 7.0 on, Valkey from 7.2 on, compared as numbers."""
    assert await examine(_asked(PRIMARY | change), Durability.SYNCED) is Durability.SYNCED


async def test_a_server_that_is_loading_is_asked_again_later() -> None:
    """Loading passes by itself: that is not unfit but unavailable."""
    with pytest.raises(StoreFailed) as failed:
        await examine(_asked(PRIMARY | {"loading": "1"}), Durability.SYNCED)
    assert failed.value.refusal.reason is ErrorReason.STORE_UNAVAILABLE


def _asked(info: dict[str, str]):  # type: ignore[no-untyped-def]
    async def ask(*args: str) -> object:
        if args[0] == "INFO":
            return "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in info.items())
        return ["appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no"]

    return ask


@pytest.mark.parametrize("place", ["unix://u:sesame@/nowhere/redis.sock", "redis://u:sesame@127.0.0.1:1/0"])
async def test_an_unreachable_server_is_named_without_its_password(place: str) -> None:
    """Who starts the sidecar sees which server does not answer, at once and without the secret."""
    started = time.monotonic()
    failed = await refused(place)
    assert time.monotonic() - started < 2.0
    assert failed.refusal.reason is ErrorReason.STORE_UNAVAILABLE
    said = explain(failed.refusal)
    assert place.replace("u:sesame@", "u@") in said
    assert "sesame" not in said + repr(failed)


async def test_a_server_that_never_answers_is_given_up_after_the_timeout(server: RedisServer) -> None:
    """A connection that is accepted and then silent must not hang the start."""
    async with proxy_before(server) as proxy:
        proxy.open.clear()
        started = time.monotonic()
        with pytest.raises(StoreFailed) as failed:
            await RedisStore.connect(proxy.url, timeout=0.3)
        assert time.monotonic() - started < 2.0
        assert failed.value.refusal.reason is ErrorReason.STORE_UNAVAILABLE
        assert proxy.connections == 1, "nobody tries again by himself"
        proxy.open.set()


async def test_a_password_in_the_options_of_the_url_is_not_shown() -> None:
    """A socket's URL may carry its password after the question mark."""
    failed = await refused("unix:///nowhere/redis.sock?username=u&password=sesame")
    assert "sesame" not in explain(failed.refusal) + repr(failed)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis.sock", "redis://127.0.0.1?db=x"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    """A typing mistake is told as one."""
    failed = await refused(url)
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT


async def test_a_wrong_password_is_told(server: RedisServer) -> None:
    """Logging in is checked before anything is served."""
    failed = await refused(server.url.replace("unix://", "unix://nobody:sesame@"))
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert "password" in explain(failed.refusal)
    assert "sesame" not in explain(failed.refusal)


async def test_a_replaced_server_is_checked_again(own_server: RedisServer) -> None:
    """The checks run at every connection: a server that comes back weaker is not served any more."""
    store = await RedisStore.connect(own_server.url)
    own_server.restart("--maxmemory-policy", "allkeys-lru")
    await asyncio.sleep(0.05)
    with pytest.raises(StoreFailed) as failed:
        await store.standing()
    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    own_server.restart()
    assert (await store.standing()).durability is Durability.SYNCED
    await store.close()
