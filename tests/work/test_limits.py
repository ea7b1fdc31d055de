"""Time limits: they only ever get narrower."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

import countermand
from countermand import StopCause, Stopped
from tests.work.support import forever


async def test_a_scope_ends_at_its_timeout() -> None:
    """With a typed reason that names it."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent", timeout="10ms") as scope:
            scope.spawn(forever)
            await forever()
    stop = stopped.value.stop
    assert (stop.reason, stop.cause) == ("DEADLINE", StopCause.TIMEOUT)
    assert stop.note == "the time of scope agent was over"


async def test_a_deadline_is_a_moment() -> None:
    """One that has passed stops it at once; one without a time zone is refused."""
    with pytest.raises(Stopped):
        async with countermand.scope(deadline=datetime.now(UTC) - timedelta(seconds=1)):
            await forever()
    with pytest.raises(countermand.FixTheCall, match="time zone"):
        countermand.scope(deadline=datetime.now())  # noqa: DTZ005 - that is the fault


async def test_the_nearest_limit_counts() -> None:
    """Within a scope there is never more time than it has itself."""
    async with countermand.scope(timeout="10s") as above:
        async with countermand.scope(timeout="1h") as within:
            assert within.remaining is not None
            assert 9 < within.remaining <= 10
            within.limit("5s")
            assert 4 < within.remaining <= 5
            within.limit("7s")
            assert 4 < within.remaining <= 5
        assert above.remaining is not None
        assert above.remaining > 9
    async with countermand.scope() as without:
        assert without.remaining is None


async def test_a_limit_in_mid_work_stops_it() -> None:
    """Such as what is left of a run's time, once that is known."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope() as scope:
            scope.limit("10ms")
            await forever()
    assert stopped.value.stop.reason == "DEADLINE"


async def test_the_time_of_a_scope_above_stops_those_within_as_one() -> None:
    """The block of the scope above says so, not the one within."""
    inner_says = []
    with pytest.raises(Stopped):
        async with countermand.scope("above", timeout="10ms"):
            try:
                async with countermand.scope("within", timeout="1h") as within:
                    await forever()
            except BaseException as error:
                inner_says.append(type(error))
                raise
    assert inner_says == [asyncio.CancelledError]
    assert within.token.stop is not None
    assert within.token.stop.note == "the time of scope above was over"


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    """Its timer goes with it."""
    async with countermand.scope(timeout="5ms") as scope:
        pass
    await asyncio.sleep(0.01)
    assert scope.receipt is None
