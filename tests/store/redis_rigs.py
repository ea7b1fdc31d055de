"""The rigs that run the Lua scripts: on a real Redis, and on fakeredis, which needs none."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fakeredis import FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection

from grant_service.core.duty import NEVER, Duty, DutyKind, DutyState
from grant_service.core.journal import Kind
from grant_service.core.store import Durability
from grant_service.store.answers import entry, fields
from grant_service.store.dial import Dial
from grant_service.store.keys import Keys, Life
from grant_service.store.link import Link
from grant_service.store.records import run_from
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import Script, scripts
from tests.store.rigs import EPOCH, START, Dump, Rig, by_anchor, in_order

#: Stands in for `_host.lua`: time and epoch are what the test wrote.
HOST = """
local function host_time_ms() return tonumber(redis.call('GET', 'test:time')) end
local function host_epoch() return redis.call('GET', 'test:epoch') end
"""
_HASHES = ("run", "grant", "action", "spending", "duty")
OURS = frozenset({"test:time", "test:epoch"})

#: Seconds. No test waits for it: it is there so that a lost reply fails a test on the slowest machine too.
TIMEOUT = 30.0


class FakeLink:
    """A way to a server in this process: one call after the other, in the order in which they are made."""

    def __init__(self) -> None:
        self._connection = FakeAsyncRedisConnection(server=FakeServer(), protocol=2, decode_responses=True)
        self._turn = asyncio.Lock()

    async def call(self, *args: str | int) -> Any:
        """Send a command and answer its reply."""
        async with self._turn:
            await self._connection.connect()
            await self._connection.send_command(*args)
            return await self._connection.read_response()

    def drop(self, why: str) -> None:
        """Nothing on the way can be lost."""

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.disconnect()


class RedisRig(Rig):
    """A store of scripts on one link, so that calls of one turn are decided in their order."""

    store: RedisStore

    def __init__(self, link: Link, dial: Dial | None = None) -> None:
        super().__init__()
        self.link, self.keys = link, Keys()
        self.says_stops = self.says_them_from_afar = dial is not None
        self.store = RedisStore(link, host=HOST, connection=dial.connection if dial else None)

    @classmethod
    async def start(cls, url: str) -> "RedisRig":
        """Use a server as if it were new: everything in it is deleted."""
        dial = Dial(url, scripts(HOST).values(), Durability.VOLATILE, TIMEOUT)
        rig = cls(dial.link(), dial)
        await rig.reset()
        return rig

    @classmethod
    async def start_fake(cls) -> "RedisRig":
        """Make a new server in this process."""
        rig = cls(FakeLink())
        await rig.use_scripts({name: _headless(script) for name, script in scripts(HOST).items()})
        rig.many = 100
        await rig.reset()
        return rig

    @property
    def scripts(self) -> Mapping[str, Script]:
        """The scripts in use."""
        return self.store._scripts

    async def use_scripts(self, scripts: Mapping[str, Script]) -> None:
        """Use other scripts, known to the server from the start: this is how a test plants a defect."""
        self.store._scripts = dict(scripts)
        await self._together(*(("SCRIPT", "LOAD", script.text) for script in scripts.values()))

    async def reset(self) -> None:
        """Delete every key, and set the clock and the epoch."""
        await self._together(("FLUSHALL",), ("SET", "test:time", START), ("SET", "test:epoch", EPOCH))
        await super().set_time(START)

    async def set_time(self, time: int) -> None:
        """Set the clock the scripts read."""
        await super().set_time(time)
        await self.link.call("SET", "test:time", time)

    async def renew_epoch(self, epoch: str) -> None:
        """Set the epoch the scripts read."""
        await self.link.call("SET", "test:epoch", epoch)

    async def lose_grant(self, grant_id: str) -> None:
        """Delete a grant's key."""
        await self.link.call("DEL", self.keys.grant(grant_id))

    async def leave_open(self, duty: Duty) -> None:
        """Change its hash, and put it on its list again."""
        keys, op = self.keys, duty.op_id
        name = keys.duty(duty.run_id, op, duty.kind, duty.job)
        await self.link.call("HSET", name, "state", DutyState.OPEN)
        if duty.kind is DutyKind.UNDO:
            await self.link.call("ZADD", keys.undo(duty.run_id), duty.fence, op)
            expires = await self.link.call("PEXPIRETIME", name)
            await self.link.call("PEXPIREAT", keys.undo(duty.run_id), expires)
        else:
            listed = {DutyKind.CALL_OFF: keys.calling_off, DutyKind.ASK: keys.asking}[duty.kind]
            place = f"/{duty.job}" if duty.job else ""
            await self.link.call("ZADD", listed, duty.due, f"{duty.run_id}/{op}{place}")

    async def last_seq(self) -> int:
        """Read the number of the last entry without showing a time."""
        return int(await self.link.call("HGET", self.keys.meta, "seq") or 0)

    async def dump(self) -> Dump:
        """Read and decode every key, and make sure that each lives as long as keys.py says."""
        epoch, flat, names = await self._together(
            ("GET", "test:epoch"), ("HGETALL", self.keys.meta), ("KEYS", "*")
        )
        meta = fields(flat)
        dump = Dump(epoch, int(meta.pop("now", 0)), int(meta.pop("seq", 0)))
        standing = int(meta.pop("standing", 0))
        meta.pop("looked_in", None)
        assert not meta, "the meta hash holds nothing else"
        names = sorted(set(names) - OURS - self._lists())
        for name, value in zip(names, await self._together(*map(_reading, names)), strict=True):
            self._add(name, value, dump)
        lives = await self._together(*(("PEXPIRETIME", name) for name in names))
        for name, expires in zip(names, lives, strict=True):
            self._check_life(name, expires, dump)
        await self._read_lists(dump)
        await self._read_fences(dump, standing)
        await self._read_duties(dump)
        return dump

    def _lists(self) -> set[str]:
        keys = self.keys
        lists = {keys.runs, keys.active, keys.awaiting, keys.undoing, keys.calling_off, keys.asking}
        return {keys.meta, *lists, keys.jobs, keys.cuts, keys.fences, keys.standing, keys.anchors}

    async def _together(self, *commands: Sequence[str | int]) -> list[Any]:
        """Send commands in one write."""
        return await asyncio.gather(*(self.link.call(*command) for command in commands))

    def _add(self, name: str, value: list[Any], dump: Dump) -> None:
        kind, _, rest = name.removeprefix(self.keys.stem).partition(":")
        match kind:
            case "run":
                dump.runs[rest] = fields(value)
            case "grant":
                dump.grants[rest] = fields(value)
            case "action":
                run, _, op = rest.partition(":")
                dump.actions[run, op] = fields(value)
            case "spending":
                run, _, op = rest.partition(":")
                dump.spendings[run, op] = fields(value)
            case "duty":
                run, op, which = rest.split(":")
                dump.duties[run, op, which] = fields(value)
            case "journal":
                entries = [entry(rest, row) for row in value]
                dump.entries[rest] = [(e.seq, e.time, e.kind.value, dict(e.data)) for e in entries]

    def _check_life(self, name: str, expires: int, dump: Dump) -> None:
        """A key ends with its run's records; the record of a cancelled run never does."""
        if self.keys.life(name) is Life.PERMANENT:
            assert expires == -1, f"{name} must stay"
            return
        life, run = self.keys.life(name), dump.runs[self._run_of(name, dump)]
        if life is Life.TOMBSTONE and run["state"] == "CANCELLED":
            assert expires == -1, f"{name} is a tombstone"
        elif run["keep_until"] == "0":
            assert expires > START, f"{name} belongs to a tombstone and must end"
        else:
            assert expires == int(run["keep_until"]), f"{name} must end with its run"

    def _run_of(self, name: str, dump: Dump) -> str:
        kind, _, rest = name.removeprefix(self.keys.stem).partition(":")
        return dump.grants[rest]["run"] if kind == "grant" else rest.partition(":")[0]

    async def _read_lists(self, dump: Dump) -> None:
        """The list of runs holds every opened run that still has its marks, and no other; read the others."""
        opened = await self._listed(self.keys.runs)
        numbers = {run: int(told["open_seq"]) for run, told in dump.runs.items() if told["marks"]}
        assert opened == {run: number for run, number in numbers.items() if number}, "not the opened runs"
        recent = await self._listed(self.keys.active)
        assert recent == {run: numbers[run] for run in recent}, "a recent run is listed under another number"
        # Reading takes those off that ended long ago.
        dump.recent = [run for run in recent if run_from(dump.runs[run]).is_recent(dump.now)]
        for name, number in (await self._listed(self.keys.awaiting)).items():
            run, _, op = name.partition("/")
            if _is_released(dump, run) and (run, op) not in dump.actions:
                continue  # reading takes it off
            assert dump.actions[run, op]["prepare_seq"] == str(number), "listed under another number"
            dump.awaiting.append((run, op))

    async def _read_duties(self, dump: Dump) -> None:
        """The lists hold the open duties, each under its number, and nothing else; a run may stay longer."""
        keys, found = self.keys, []
        runs = {run for run, _, kind in dump.duties if kind == DutyKind.UNDO}
        for run in runs:
            undos = await self._listed(keys.undo(run))
            found += [(DutyKind.UNDO, run, op, number) for op, number in undos.items()]
        for kind, key in ((DutyKind.CALL_OFF, keys.calling_off), (DutyKind.ASK, keys.asking)):
            for name, number in (await self._listed(key)).items():
                run, op, *job = name.split("/")
                which = "/".join([kind, *job])
                if not _is_released(dump, run) or (run, op, which) in dump.duties:  # else it is off
                    found.append((which, run, op, number))
        jobs = await self.link.call("ZRANGE", keys.jobs, 0, -1)
        found += [one for job in jobs if (one := self._job(job, dump))]
        duties = {key: duty for key, duty in dump.duties.items() if duty["state"] == DutyState.OPEN}
        wanted = {
            (which, run, op, int(duty["fence" if which == DutyKind.UNDO else "due"]))
            for (run, op, which), duty in duties.items()
        }
        assert set(found) == wanted, "not the open duties"
        dump.open_duties = in_order((which.partition("/")[0], *rest) for which, *rest in found)
        undoing = await self._listed(keys.undoing)
        assert {run for kind, run, *_ in found if kind == DutyKind.UNDO} <= undoing.keys() <= runs
        asked = {run: _numbers(dump, run, Kind.UNDO_ASKED) for run in undoing}
        assert undoing == {run: max(numbers) for run, numbers in asked.items()}, "another number"

    def _job(self, name: str, dump: Dump) -> tuple[str, str, str, int] | None:
        """Read a job's name: its run's path, and its action. What is not due later is met there no more."""
        path, _, rest = name.partition(",/")
        op, *job = rest.split("/")
        run, which = path.rpartition(",")[2], "/".join([DutyKind.CALL_OFF, *job])
        if _is_released(dump, run):
            return None
        assert path.split(",")[:-1] == [one for one in dump.runs[run]["ancestors"].split(",") if one]
        duty = dump.duties[run, op, which]
        waits = duty["state"] == DutyState.OPEN and duty["due"] == str(NEVER)
        return (which, run, op, NEVER) if waits else None

    async def _listed(self, key: str) -> dict[str, int]:
        flat = fields(await self.link.call("ZRANGE", key, 0, -1, "WITHSCORES"))
        return {name: int(number) for name, number in flat.items()}

    async def _read_fences(self, dump: Dump, standing: int) -> None:
        """Commits find the fences that stand, and see whether there are any."""
        kept = fields(await self.link.call("HGETALL", self.keys.fences))
        dump.fences = {fence_id: json.loads(text) for fence_id, text in kept.items()}
        anchors = fields(await self.link.call("HGETALL", self.keys.anchors))
        found = [(anchor, fence_id) for anchor, ids in anchors.items() for fence_id in ids.split(",")]
        dump.standing = by_anchor((anchor, int(dump.fences[one]["seq"]), one) for anchor, one in found)
        ends = {one: int(fence["kill_until"]) for one, fence in dump.fences.items() if fence["standing"]}
        assert await self._listed(self.keys.standing) == ends, "not the standing fences"
        assert standing == len(ends), "a commit is told of another number of standing fences"


def _reading(name: str) -> tuple[str, ...]:
    """How to read a key; one that nobody named is an error."""
    kind = name.partition("}:")[2].partition(":")[0]
    assert kind in (*_HASHES, "journal", "undo"), f"nobody knows the key {name}"
    ways = {"journal": ("XRANGE", name, "-", "+"), "undo": ("ZRANGE", name, "0", "-1")}
    return ways.get(kind, ("HGETALL", name))


def _is_released(dump: Dump, run: str) -> bool:
    """Say whether a run was let go of."""
    return dump.runs[run]["open_seq"] != "0" and not dump.runs[run]["marks"]


def _numbers(dump: Dump, run: str, kind: Kind) -> list[int]:
    """The numbers of a run's entries of a kind."""
    return [seq for seq, _, word, _ in dump.entries[run] if word == kind]


def changed(script: Script, old: str, new: str) -> Script:
    """The script with another text wherever it has this one."""
    text = script.text.replace(old, new)
    return replace(script, text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _headless(script: Script) -> Script:
    """The script with its header made a comment: fakeredis knows no headers, and never runs out of memory."""
    return changed(script, "#!lua", "-- #!lua")
