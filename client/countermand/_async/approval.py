"""Waiting for a person: the same question again and again, at a pace of its own."""

from collections.abc import Callable
from typing import Any

from countermand._approval import Waiting
from countermand._errors import AwaitingApproval, CountermandError, TryAgain


async def agreed(ask: Callable[[], Any], waiting: Waiting) -> Any:
    """Ask until a person has agreed, or it is refused, or the time is over; answer what is answered then.

    A sidecar that is away meanwhile is waited for, too. If it is still away when the time is over, that is
    what is raised: somebody may have agreed.
    """
    while True:
        unanswered: CountermandError | None = None
        try:
            return await ask()
        except AwaitingApproval:
            if not waiting.begin():
                raise
        except TryAgain as failure:
            if not waiting.is_on:
                raise
            unanswered = failure
        waiting.unanswered = unanswered is not None
        pause = waiting.pause()
        if pause is None:
            raise unanswered or waiting.timed_out()
        await waiting.pacing.sleep(pause)
