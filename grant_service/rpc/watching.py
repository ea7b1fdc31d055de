"""Noticing that something stopped, and telling whoever watches it.

The store hints, and time does where a hint got lost; then the store is asked, by the same questions as a
commit is. All of it is a courtesy: no decision waits for it or depends on it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from grant_service.core.errors import AFTER_THE_STOP, ErrorReason, Refusal, Refused
from grant_service.core.lifecycle.questions import ended
from grant_service.core.store import Store
from grant_service.core.why import Snapshot, refusals

_log = structlog.get_logger()

#: What a watch is for: no commit is permitted any more, and none ever will be.
_STOPS = AFTER_THE_STOP | {ErrorReason.GRANT_UNKNOWN, ErrorReason.RUN_UNKNOWN}

#: How many are asked about, or told, before other work gets its turn: a cancel above all.
_AT_ONCE = 50


@dataclass(eq=False, slots=True)
class Watch:
    """What is watched: a run of a path, or a grant of it; and who is told, once."""

    path: tuple[str, ...]
    grant_id: str
    tell: Callable[[Refusal], None]
    deadline: int = 0

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
    _by_run: dict[str, set[Watch]] = field(default_factory=dict)
    #: Runs that may have ended, and watches to be asked about one by one.
    _runs: set[str] = field(default_factory=set)
    _doubted: set[Watch] = field(default_factory=set)
    _doubt: asyncio.Event = field(default_factory=asyncio.Event)
    _epoch: str = ""

    def __post_init__(self) -> None:
        self.store.on_stop(self._heard)

    def add(self, watch: Watch) -> None:
        """Watch; it is asked about at once, so what stopped just before is told as well."""
        for run_id in watch.path:
            self._by_run.setdefault(run_id, set()).add(watch)
        self._doubted.add(watch)
        self._doubt.set()

    def remove(self, watch: Watch) -> None:
        """Watch it no more."""
        for run_id in watch.path:
            if watches := self._by_run.get(run_id):
                watches.discard(watch)
                if not watches:
                    del self._by_run[run_id]

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> set[Watch]:
        return set[Watch]().union(*self._by_run.values())

    def _heard(self, run_id: str) -> None:
        if not run_id:
            self._doubted |= self._all()
        elif run_id in self._by_run:
            self._runs.add(run_id)
        if self._runs or self._doubted:
            self._doubt.set()

    async def work(self) -> None:
        """Look for ever; what goes wrong is looked at again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_when_in_doubt())
            group.create_task(self._doubt_in_time())

    async def _look_when_in_doubt(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._look_at_runs()
                await self._look_at_each()
            except Refused as failed:
                # What is still doubted is asked about when time makes somebody look.
                _log.info("watching: the store does not answer", reason=failed.refusal.reason.value)

    async def _look_at_runs(self) -> None:
        """Tell everybody below runs that have ended: one look at those, however many are told."""
        while self._runs:
            run_id = next(iter(self._runs))
            standing = await self.store.standing()
            (run,) = await self.store.runs([run_id])
            self._runs.discard(run_id)
            state = Snapshot(standing.epoch, standing.now, runs={run_id: run} if run else {})
            below = list(self._by_run.get(run_id, ()))
            for index, watch in enumerate(below):
                if refusal := ended(state, (run_id,), watch.run_id):
                    self._tell(watch, refusal)
                else:  # not the run, then: a grant of it
                    self._doubted.add(watch)
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)

    async def _look_at_each(self) -> None:
        while self._doubted:
            some = [self._doubted.pop() for _ in range(min(_AT_ONCE, len(self._doubted)))]
            some = [one for one in some if self._is_watched(one)]
            try:
                told = await refusals(self.store, [(one.run_id, one.grant_id) for one in some])
            except BaseException:
                self._doubted.update(some)
                raise
            for watch, refusal in zip(some, told, strict=True):
                if refusal and refusal.reason in _STOPS:
                    self._tell(watch, refusal)

    def _is_watched(self, watch: Watch) -> bool:
        return watch in self._by_run.get(watch.run_id, ())

    def _tell(self, watch: Watch, refusal: Refusal) -> None:
        if self._is_watched(watch):
            self.remove(watch)
            watch.tell(refusal)

    async def _doubt_in_time(self) -> None:
        """Doubt what time ends, what a new epoch ends, and now and then everything."""
        clock, looked = asyncio.get_running_loop().time, 0.0
        while True:
            await asyncio.sleep(self.every)
            if not self._by_run:
                continue
            with contextlib.suppress(Refused):
                standing = await self.store.standing()
                if standing.epoch != self._epoch or clock() - looked > self.everything_every:
                    self._epoch, looked = standing.epoch, clock()
                    self._doubted |= self._all()
                self._doubted.update(self._over(standing.now))
            if self._runs or self._doubted:
                self._doubt.set()

    def _over(self, now: int) -> Iterable[Watch]:
        return [one for one in self._all() if one.deadline <= now]
