"""The user of deploy/redis-acl.conf: what the sidecar needs and nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from grant_service.core import verbs
from grant_service.core.duty import DutyKind
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.neighbours import Told
from grant_service.core.retention import release_of
from grant_service.core.run import StopReason
from grant_service.store.keys import Keys
from grant_service.store.redis import RedisStore
from tests.redis.neighbours import neighbour
from tests.redis.support import Desk, story, undoable
from tests.support.redis_server import RedisServer, redis_running

CONF = Path(__file__).parents[2] / "deploy" / "redis-acl.conf"
LINE = next(line for line in CONF.read_text().splitlines() if line.startswith("user countermand "))
#: Without one of these it takes longer until somebody who watches hears of a stop.
HINTING = ["+publish", "+subscribe"]
RIGHTS = [word for word in LINE.split() if word.startswith("+") and word not in HINTING]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that includes the file, its user given a password as the file says."""
    with redis_running(tmp_path_factory.mktemp("acl"), "--include", str(CONF)) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "countermand", ">PASSWORD")
        yield server


@pytest.fixture
def url(guarded: RedisServer) -> str:
    """How the sidecar logs in."""
    with guarded.client() as client:
        client.flushall()
    return guarded.url.replace("unix://", "unix://countermand:PASSWORD@")


async def test_the_rights_suffice(url: str) -> None:
    """The whole story, the start checks and pruning included."""
    await everything(url)


async def everything(url: str) -> None:
    """Use all that the sidecar uses."""
    store = await RedisStore.connect(url)
    try:
        await story(store)
        await prune(store, url)
        await release(store)
    finally:
        await store.close()


async def release(store: RedisStore) -> None:
    """Let go of a run, as the archiver does."""
    over = await Desk(store, run="over", grant="g-over").ready()
    await over.perform()
    await over.finish()
    assert "over" in [run_id for _, run_id in await store.oldest_run_ids(0, 100)]
    assert await store.release(release_of("over", await store.journal("over", 0, 100)))
    assert await store.journal("over", 0, 100) == []


async def prune(store: RedisStore, url: str) -> None:
    """Let a run and its duties vanish and list what there is."""
    gone = await Desk(store, run="gone", grant="g-gone").ready()
    await gone.perform(wanted=undoable("o-1"))
    await gone.settle(handle="job-1")
    await gone.finish()
    await gone.undo()
    with redis.Redis.from_url(url.replace("countermand:PASSWORD@", "")) as admin:
        admin.delete(Keys().run("gone"), *Keys().duties("gone", "o-1")[3:])
    assert "gone" not in [run_id for _, run_id in await store.run_ids(0, 10)]
    for kind in DutyKind:
        assert "gone" not in [duty.run_id for duty in await store.open_duties(kind, 10)]


@pytest.mark.parametrize("right", RIGHTS)
async def test_no_right_is_more_than_needed(guarded: RedisServer, url: str, right: str) -> None:
    """Take away any one of them, and something fails with a reason that says what to do."""
    with guarded.client() as admin:
        admin.execute_command("ACL", "SETUSER", "countermand", f"-{right[1:]}")
        with pytest.raises(StoreFailed) as failed:
            await everything(url)
        admin.execute_command("ACL", "SETUSER", "countermand", right)
    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    assert "redis-acl.conf" in failed.value.refusal.details["remedy"] or right == "+config|get"


@pytest.mark.parametrize("missing", [None, *HINTING])
async def test_hints_need_their_rights_and_nothing_else_does(
    guarded: RedisServer, url: str, missing: str | None
) -> None:
    """Who may not publish, or not listen, cancels and commits all the same."""
    with guarded.client() as admin:
        if missing:
            admin.execute_command("ACL", "SETUSER", "countermand", f"-{missing[1:]}")
        try:
            heard = await _hints(url)
            await everything(url)
        finally:
            admin.execute_command("ACL", "SETUSER", "countermand", *HINTING)
    assert ("run" in heard) == (missing is None)


async def test_sidecars_hear_each_other_with_these_rights(url: str) -> None:
    """On channels below the prefix only."""
    async with neighbour(url, "a") as a, neighbour(url, "b"):
        assert await a.ask("r-1") == Told(["b r-1"], 0)


async def _hints(url: str) -> list[str]:
    """Listen, cancel a run, and answer what was heard."""
    store = await RedisStore.connect(url)
    heard: list[str] = []
    try:
        store.on_stop(heard.append)
        await asyncio.sleep(0.2)
        await Desk(store, run="run", grant="g-run").ready()
        await store.cancel(verbs.Cancel("run", StopReason.USER_STOP, "", "", ""))
        await asyncio.sleep(0.2)
    finally:
        await store.close()
    return heard


FORBIDDEN = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG SET maxmemory-policy allkeys-lru",
    "CONFIG REWRITE",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "EVAL return 0",
    "KEYS *",
    "SCAN 0",
    "DEL cm5:{p0}:meta",
    "EXPIRE cm5:{p0}:meta 1",
    "XDEL cm5:{p0}:journal:r-1 1-0",
    "XTRIM cm5:{p0}:journal:r-1 MAXLEN 0",
    "SET cm5:{p0}:meta x",
    "RENAME cm5:{p0}:meta cm5:{p0}:runs",
    "ACL WHOAMI",
    "SHUTDOWN",
    "REPLICAOF NO ONE",
    "HGET other meta",
    "HSET cm5:{p1}:meta seq 0",
    "XADD other * a b",
    "SUBSCRIBE all",
    "CLIENT LIST",
    "MONITOR",
)


@pytest.mark.parametrize("command", FORBIDDEN)
def test_everything_else_is_denied(url: str, command: str) -> None:
    """What could take back a revocation, or read what is not ours, the sidecar's own user may not do."""
    words = [*command.split(), "0"] if command.startswith("EVAL") else command.split()
    with redis.Redis.from_url(url, protocol=2) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*words)


async def test_the_scripts_stay_below_their_prefix(url: str) -> None:
    """With another prefix or partition the same user may nothing: the keys of every script are declared."""
    for other in ({"prefix": "xx"}, {"partition": "p1"}):
        with pytest.raises(StoreFailed) as failed:
            await RedisStore.connect(url, **other)
        assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT


def test_a_script_of_one_s_own_reaches_no_other_key(url: str) -> None:
    """Whoever has the password may load a script, but not reach beyond the prefix with it."""
    with redis.Redis.from_url(url, protocol=2) as client:
        sha = client.script_load("return redis.call('HGET', KEYS[1] or 'other', 'a')")
        for keys in (["other"], []):
            with pytest.raises(
                redis.exceptions.ResponseError, match=r"permission|executing the script can't"
            ):
                client.evalsha(sha, len(keys), *keys)


async def test_the_file_lets_nobody_in_by_itself(tmp_path: Path) -> None:
    """Included as it is, without a password, its user cannot log in."""
    with redis_running(tmp_path / "bare", "--include", str(CONF)) as server:
        for password in ("", "PASSWORD", "RESULT"):
            url = server.url.replace("unix://", f"unix://countermand:{password}@")
            with pytest.raises(StoreFailed) as failed:
                await RedisStore.connect(url)
            assert "password" in failed.value.refusal.details["cause"]
