"""Several ways to one result, as a scope offers them."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from countermand._span import Span, seconds
from countermand.work.names import name_of
from countermand.work.owner import Owner
from countermand.work.races import first_done, first_ended, hedged, owned, retried

if TYPE_CHECKING:
    from countermand.work.scope import WorkScope

T = TypeVar("T")


class Ways:
    """The part of a scope that finds one result in several ways. All of it is done in scopes within."""

    _owner: Owner

    async def race(self, *fns: Callable[[], Awaitable[T]], name: str = "race") -> T:
        """Run async functions side by side; the first that ends decides, by its result or what it raises.

        The others are stopped, with the reason SUPERSEDED, and have ended when this answers.
        """
        return await owned(self._owner, _within(name, lambda within: first_ended(within, fns)), name)

    async def any(self, *fns: Callable[[], Awaitable[T]], name: str = "any") -> T:
        """Run async functions side by side; the first result counts, and the others are stopped.

        If all of them fail, an ExceptionGroup has what they raised.
        """
        return await owned(self._owner, _within(name, lambda within: first_done(within, fns)), name)

    async def hedge(
        self, fn: Callable[[], Awaitable[T]], *, after: Span, copies: int = 2, name: str = "hedge"
    ) -> T:
        """Run an async function, and again beside it each time that there is no result after so long.

        The first result counts, and the others are stopped. Only for what may happen more than once.
        """
        wait = seconds(after)
        body = _within(name, lambda within: hedged(within, fn, wait, copies))
        return await owned(self._owner, body, name)

    async def retry(
        self,
        fn: Callable[[], Awaitable[T]],
        *,
        attempts: int = 3,
        pause: Span = "100ms",
        longest: Span = "10s",
        on: tuple[type[Exception], ...] = (Exception,),
        name: str = "",
    ) -> T:
        """Run an async function until it succeeds, so often at most, with pauses that double.

        A stop ends a pause at once. What says that the run has to stop, that the call is wrong or that an
        operator has to look is never tried again.
        """
        again = functools.partial(retried, fn, attempts, seconds(pause), seconds(longest), on)
        return await owned(self._owner, again, name or f"retry {name_of(fn)}")


def _within(
    name: str, body: Callable[["WorkScope"], Coroutine[Any, Any, T]]
) -> Callable[[], Coroutine[Any, Any, T]]:
    """Answer how to do something in a scope of its own."""

    async def run() -> T:
        from countermand.work.scope import scope  # it is built on this module

        async with scope(name) as within:
            return await body(within)

    return run
