"""Noticing that something stopped, and telling whoever watches it.

The store hints, and time does where a hint got lost; then the store is asked, by the same questions as a
commit is. All of it is a courtesy: no decision waits for it or depends on it.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from grant_service.core.errors import AFTER_THE_STOP, ErrorReason, Refusal, Refused
from grant_service.core.lifecycle.questions import ended
from grant_service.core.store import Store
from grant_service.core.why import Snapshot, refusals, snapshot

_log = structlog.get_logger()

#: What a watch is for: no commit is permitted any more, and none ever will be.
_STOPS = AFTER_THE_STOP | {ErrorReason.GRANT_UNKNOWN, ErrorReason.RUN_UNKNOWN}

#: How many are asked about, or told, before other work gets its turn: a cancel above all.
_AT_ONCE = 50
#: How many there may be in a sidecar.
_MOST = 100_000


@dataclass(eq=False, slots=True)
class Watch:
    """What is watched: a run of a path, or a grant of it; and who is told, once."""

    path: tuple[str, ...]
    grant_id: str
    tell: Callable[[Refusal], None]

    @property
    def run_id(self) -> str:
        """The run."""
        return self.path[-1]


@dataclass
class Watching:
    """All that is watched through one sidecar."""

    store: Store
    #: Seconds between two looks at clock and epoch, and between two at everything: hints get lost.
    every: float = 1.0
    everything_every: float = 10.0
    _watches: set[Watch] = field(default_factory=set)
    _by_run: dict[str, set[Watch]] = field(default_factory=dict)
    #: Runs that may have ended, and watches to be asked about one by one.
    _runs: set[str] = field(default_factory=set)
    _doubted: set[Watch] = field(default_factory=set)
    _doubt: asyncio.Event = field(default_factory=asyncio.Event)
    #: By the time at which the first run of the path is over.
    _deadlines: list[tuple[int, int, Watch]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _epoch: str = ""

    def __post_init__(self) -> None:
        self.store.on_stop(self._heard)

    @property
    def is_full(self) -> bool:
        """Whether no more can be watched."""
        return len(self._watches) >= _MOST

    def add(self, watch: Watch) -> None:
        """Watch; it is asked about at once, so what stopped just before is told as well."""
        self._watches.add(watch)
        for run_id in watch.path:
            self._by_run.setdefault(run_id, set()).add(watch)
        self._doubted.add(watch)
        self._doubt.set()

    def remove(self, watch: Watch) -> None:
        """Watch it no more."""
        self._watches.discard(watch)
        for run_id in watch.path:
            if watches := self._by_run.get(run_id):
                watches.discard(watch)
                if not watches:
                    del self._by_run[run_id]

    def __len__(self) -> int:
        return len(self._watches)

    def _heard(self, run_id: str) -> None:
        if not run_id:
            self._doubted |= self._watches
        elif run_id in self._by_run:
            self._runs.add(run_id)
        if self._runs or self._doubted:
            self._doubt.set()

    async def work(self) -> None:
        """Look for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_when_in_doubt())
            group.create_task(self._doubt_in_time())

    async def _look_when_in_doubt(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            await _try(self._look)

    async def _look(self) -> None:
        """Ask about what is in doubt; what could not be asked stays so, until time makes somebody look."""
        while self._runs or self._doubted:
            if self._runs:
                await self._look_at_run(next(iter(self._runs)))
            if self._doubted:
                await self._look_at_some()

    async def _look_at_run(self, run_id: str) -> None:
        """Tell everybody below a run that has ended: one look, however many are told."""
        standing = await self.store.standing()
        (run,) = await self.store.runs([run_id])
        self._runs.discard(run_id)
        state = Snapshot(standing.epoch, standing.now, runs={run_id: run} if run else {})
        for index, watch in enumerate(list(self._by_run.get(run_id, ()))):
            if refusal := ended(state, (run_id,), watch.run_id):
                self._tell(watch, refusal)
            else:  # not the run, then: a grant of it
                self._doubted.add(watch)
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _look_at_some(self) -> None:
        """Ask about all that are in doubt now, a few at a time; the fences are read once for all of them."""
        doubted, self._doubted = self._doubted & self._watches, set()
        try:
            state = await snapshot(self.store)
            while doubted:
                some = [doubted.pop() for _ in range(min(_AT_ONCE, len(doubted)))]
                self._doubted.update(some)
                told = await refusals(self.store, state, [(one.run_id, one.grant_id) for one in some])
                self._doubted.difference_update(some)
                for watch, refusal in zip(some, told, strict=True):
                    if refusal and refusal.reason in _STOPS:
                        self._tell(watch, refusal)
                    else:
                        self._note_deadline(watch, state)
                await asyncio.sleep(0)
        finally:
            self._doubted |= doubted

    def _note_deadline(self, watch: Watch, state: Snapshot) -> None:
        runs = [state.runs[one] for one in watch.path if one in state.runs]
        if runs and watch in self._watches:
            over = min(run.deadline for run in runs)
            heapq.heappush(self._deadlines, (over, next(self._numbers), watch))

    def _tell(self, watch: Watch, refusal: Refusal) -> None:
        if watch in self._watches:
            self.remove(watch)
            watch.tell(refusal)

    async def _doubt_in_time(self) -> None:
        looked = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self.every)
            everything = clock() - looked > self.everything_every
            if self._watches and await _try(partial(self._doubt_now, everything=everything)) and everything:
                looked = clock()

    async def _doubt_now(self, *, everything: bool) -> None:
        """Doubt what time has ended, what a new epoch ends, and now and then everything."""
        standing = await self.store.standing()
        if everything or standing.epoch != self._epoch:
            self._epoch = standing.epoch
            self._doubted |= self._watches
            self._deadlines.clear()  # each is noted again when it was looked at
        while self._deadlines and self._deadlines[0][0] <= standing.now:
            _, _, watch = heapq.heappop(self._deadlines)
            if watch in self._watches:
                self._doubted.add(watch)
        if self._runs or self._doubted:
            self._doubt.set()


async def _try(work: Callable[[], Awaitable[None]]) -> bool:
    """Do some work that must not end the watching, and say whether it went well."""
    try:
        await work()
    except Refused as failed:
        _log.info("watching: the store does not answer", reason=failed.refusal.reason.value)
        return False
    except Exception:
        _log.exception("watching failed, and goes on")
        return False
    return True
