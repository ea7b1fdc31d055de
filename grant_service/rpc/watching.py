"""Noticing that something stopped, and telling whoever watches it.

The store hints, and time does where a hint got lost; then the store is asked, by the same questions as a
commit is. All of it is a courtesy: no decision waits for it or depends on it.
"""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

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


@dataclass(frozen=True, slots=True)
class Position:
    """A place in what a store has written; those of two epochs have no order."""

    epoch: str
    seq: int


@dataclass(eq=False, slots=True)
class Watch:
    """What is watched: a run of a path, or a grant of it; and who is told, once, and as of where."""

    path: tuple[str, ...]
    grant_id: str
    tell: Callable[[Refusal, Position], None]
    #: Where whoever watches was last told that it goes on.
    after: Position | None = None

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
    #: New ones, for whom somebody waits to hear how they stand.
    _asked: "dict[Watch, asyncio.Future[tuple[Position, Refusal | None]]]" = field(default_factory=dict)
    _doubt: asyncio.Event = field(default_factory=asyncio.Event)
    #: By the time at which the first run of the path is over.
    _deadlines: list[tuple[int, int, Watch]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _epoch: str = ""
    #: How many were told of a stop, by what a commit would be refused with.
    told: Counter[ErrorReason] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.store.on_stop(self._heard)

    @property
    def is_full(self) -> bool:
        """Whether no more can be watched."""
        return len(self._watches) >= _MOST

    def add(self, watch: Watch) -> "asyncio.Future[tuple[Position, Refusal | None]]":
        """Watch, and answer how it stood as of when: if it has stopped, it is not watched, nor told of."""
        self._watches.add(watch)
        for run_id in watch.path:
            self._by_run.setdefault(run_id, set()).add(watch)
        asked = self._asked[watch] = asyncio.get_running_loop().create_future()
        self._doubt.set()
        return asked

    def remove(self, watch: Watch) -> None:
        """Watch it no more."""
        self._watches.discard(watch)
        if asked := self._asked.pop(watch, None):
            asked.cancel()
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
        if self._is_in_doubt:
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
        while self._is_in_doubt:
            if self._runs:
                await self._look_at_run(self._runs.pop())
            if self._asked:
                await self._look_at(set(self._asked))
            if self._doubted:
                doubted, self._doubted = self._doubted & self._watches, set()
                await self._look_at(doubted)

    @property
    def _is_in_doubt(self) -> bool:
        return bool(self._runs or self._asked or self._doubted)

    async def _look_at_run(self, run_id: str) -> None:
        """Tell everybody below a run that has ended: one look, however many are told."""
        try:
            standing = await self.store.standing()
            (run,) = await self.store.runs([run_id])
        except BaseException:
            self._runs.add(run_id)
            raise
        state = Snapshot(standing.epoch, standing.now, runs={run_id: run} if run else {})
        as_of = Position(standing.epoch, standing.last_seq)
        for index, watch in enumerate(list(self._by_run.get(run_id, ()))):
            if refusal := ended(state, (run_id,), watch.run_id):
                self._tell(watch, refusal, as_of)
            else:  # not the run, then: a grant of it
                self._doubted.add(watch)
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _look_at(self, doubted: set[Watch]) -> None:
        """Ask about these, a few at a time; the fences are read once for all, unless somebody else waits."""
        try:
            state = await snapshot(self.store)
            as_of = Position(state.epoch, state.seq)
            while doubted:
                some = list(islice(doubted, _AT_ONCE))
                told = await refusals(self.store, state, [(one.run_id, one.grant_id) for one in some])
                doubted.difference_update(some)
                for watch, refusal in zip(some, told, strict=True):
                    if lost := _lost(watch.after, as_of):
                        self._tell(watch, lost, as_of)
                    elif refusal and refusal.reason in _STOPS:
                        self._tell(watch, refusal, as_of)
                    else:
                        self._answer(watch, as_of)
                        self._note_deadline(watch, state)
                await asyncio.sleep(0)
                if self._asked.keys() - doubted:
                    break
        finally:
            self._doubted |= doubted

    def _note_deadline(self, watch: Watch, state: Snapshot) -> None:
        runs = [state.runs[one] for one in watch.path if one in state.runs]
        if runs and watch in self._watches:
            over = min(run.deadline for run in runs)
            heapq.heappush(self._deadlines, (over, next(self._numbers), watch))

    def _tell(self, watch: Watch, refusal: Refusal, as_of: Position) -> None:
        if watch in self._watches:
            if not self._answer(watch, as_of, refusal):
                watch.tell(refusal, as_of)
            self.told[refusal.reason] += 1
        self.remove(watch)

    def _answer(self, watch: Watch, as_of: Position, refusal: Refusal | None = None) -> bool:
        """Say how a new one stands, if somebody waits to hear that."""
        asked = self._asked.pop(watch, None)
        if asked is not None and not asked.done():
            asked.set_result((as_of, refusal))
        return asked is not None

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
        if self._is_in_doubt:
            self._doubt.set()


def _lost(known: Position | None, as_of: Position) -> Refusal | None:
    """Refuse if the store has less than was known of it in this epoch: a stop may be among what it lost."""
    if known is None or known.epoch != as_of.epoch or known.seq <= as_of.seq:
        return None
    cause = f"it has {as_of.seq} entries and had {known.seq}: it has lost what it had written"
    return Refusal(
        ErrorReason.STORE_UNFIT, {"cause": cause, "remedy": "open new runs, and see what became of it"}
    )


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
