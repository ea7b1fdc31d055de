"""`pool`: so many at a time; the others wait for their turn, and are stopped while they do."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from countermand._errors import FixTheCall
from countermand.work.calls import calling
from countermand.work.names import name_of
from countermand.work.offload import call_in_process, packed
from countermand.work.owner import Owner
from countermand.work.piece import Work
from countermand.work.threads import in_thread
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Begin = Callable[[Work[T]], Coroutine[Any, Any, T]]


class WorkPool:
    """Starts work in its scope, of which so much runs at a time; the rest waits and is QUEUED."""

    def __init__(self, owner: Owner, size: int) -> None:
        if size < 1:
            raise FixTheCall(f"a pool needs at least one place, not {size}")
        self._owner = owner
        self._places = asyncio.Semaphore(size)

    def spawn(
        self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, name: str = "", kind: WorkKind = "io"
    ) -> Work[T]:
        """Start an async function when it is its turn; else as `scope.spawn`."""
        return self._start(calling(fn, args), name or name_of(fn), kind)

    def run_in_thread(
        self, fn: Callable[[CancellationToken, *Ts], T], *args: *Ts, name: str = "", kind: WorkKind = "io"
    ) -> Work[T]:
        """Start a function that blocks when it is its turn; else as `scope.run_in_thread`."""
        return self._start(in_thread(fn, args), name or name_of(fn), kind)

    def offload(self, fn: Callable[[*Ts], T], *args: *Ts, name: str = "", kind: WorkKind = "cpu") -> Work[T]:
        """Start a function that computes when it is its turn; else as `scope.offload`."""
        call, known_as = packed(fn, args), name or name_of(fn)
        begin = in_thread(functools.partial(call_in_process, call=call, name=known_as), ())
        return self._start(begin, known_as, kind)

    def _start(self, begin: Begin[T], name: str, kind: WorkKind) -> Work[T]:
        async def in_turn(work: Work[T]) -> T:
            work._waits()
            async with self._places:
                work._has_its_turn()
                return await begin(work)

        return self._owner.start(in_turn, name, kind)
