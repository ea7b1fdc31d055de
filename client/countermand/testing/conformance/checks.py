"""The rules that every seam is held to: one coroutine each, named for what it demands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from countermand._models.reports import ReportedAction
from countermand._words import ActionState, ErrorReason, Outcome
from countermand.testing.conformance.seam import Fault, Grade, Seam
from countermand.testing.conformance.stage import Round, Stage, caught, demand, in_haste

Check = Callable[[Stage], Awaitable[None]]


async def a_revoked_call_does_not_run(stage: Stage) -> None:
    """After a cancel has returned nothing happens, whoever waits is told, and the attempt is reported."""
    seam = stage.seam
    async with stage.open_run() as round_:
        raised = await caught(seam.late(round_.key, round_.run.cancel))
        _demand_refused(seam, round_.key, raised, "its run was cancelled")
        late = (await round_.report()).late_attempts
        demand(
            any(one.action in ("", seam.action) and one.reason is ErrorReason.REVOKED for one in late),
            f"{seam.name}: the refused attempt is not in the report; ask the sidecar, and let it refuse",
        )
        await asyncio.sleep(_WAITS)
        demand(
            not round_.happened,
            f"{seam.name}: it told of the refusal, and acted {round_.happened} times afterwards",
        )


async def a_call_without_a_grant_does_not_run(stage: Stage) -> None:
    """Where no grant is current nothing happens, and whoever waits is told."""
    seam = stage.seam
    key = "without-a-grant"
    raised = await caught(seam.attempt(key))
    _demand_refused(seam, key, raised, "no grant is current")


async def a_call_without_the_service_does_not_run(stage: Stage) -> None:
    """While no sidecar answers nothing happens; once it is back, calls run again."""
    seam = stage.seam
    async with stage.open_run() as round_:
        await asyncio.to_thread(stage.service.stop)
        try:
            raised = await round_.attempt()
        finally:
            await asyncio.to_thread(stage.service.start)
        _demand_refused(seam, round_.key, raised, "no sidecar answers")
    async with stage.open_run() as round_:
        raised = await round_.attempt()
        demand(raised is None, f"{seam.name}: the sidecar is back, and an attempt raises {raised!r}")
        demand(round_.happened, f"{seam.name}: the sidecar is back, and nothing happens any more")


async def a_call_that_nobody_answers_does_not_run(stage: Stage) -> None:
    """While the sidecar hangs nothing happens: it takes the question, and no answer is no yes."""
    seam = stage.seam
    async with stage.open_run() as round_, in_haste(stage.service.home):
        await asyncio.to_thread(stage.service.pause)
        try:
            raised = await round_.attempt()
        finally:
            await asyncio.to_thread(stage.service.resume)
        _demand_refused(seam, round_.key, raised, "the sidecar hangs")


async def a_call_in_good_standing_runs_once(stage: Stage) -> None:
    """Under a grant that allows it the effect happens once, and is on record as one that succeeded."""
    seam = stage.seam
    async with stage.open_run() as round_:
        raised = await round_.attempt()
        demand(raised is None, f"{seam.name}: an attempt that nothing forbids raises {raised!r}")
        demand(round_.happened == 1, f"{seam.name}: one attempt had {round_.happened} effects")
        _demand_outcome(seam, await round_.settled(), Outcome.SUCCEEDED, "an attempt that went well")


async def an_exception_settles_honestly(stage: Stage) -> None:
    """An effect whose code raises is on record as the seam declares, and that is true."""
    await _settles(stage, Fault.RAISED, stage.seam.raised)


async def a_lost_connection_settles_honestly(stage: Stage) -> None:
    """An effect whose connection was lost is on record as the seam declares, and that is true."""
    await _settles(stage, Fault.LOST, stage.seam.lost)


async def a_cancel_while_inside_is_told_truly(stage: Stage) -> None:
    """An effect that is inside at the cancel is reported as in flight, then as what became of it."""
    seam = stage.seam
    async with stage.open_run() as round_:
        attempt = asyncio.ensure_future(round_.attempt(Fault.HELD))
        try:
            inside = await round_.inside(attempt)
            demand(
                inside, f"{seam.name}: an effect that is held inside is not in flight; it settled too early"
            )
            report = await round_.run.cancel()
            told = [one for one in report.in_flight if one.action == seam.action]
            demand(len(told) == 1, f"{seam.name}: {len(told)} effects are in flight at the cancel, not 1")
        finally:
            seam.release(round_.key)
            await attempt
        actions = await round_.settled()
        _demand_outcome(seam, actions, seam.cancelled, "an effect that was inside at the cancel")
        demand(actions[0].settled_after_cut, f"{seam.name}: its outcome was on record before it had ended")
        _demand_true(seam, round_, seam.cancelled)


async def a_stop_at_the_target_wins(stage: Stage) -> None:
    """What the target was told to stop does not land, though the sidecar permits it, and has failed."""
    seam = stage.seam
    async with stage.open_run() as round_:
        await seam.stop_target(round_.run.run_id)
        _demand_refused(seam, round_.key, await round_.attempt(), "its target was told to stop")
        _demand_outcome(seam, await round_.settled(), Outcome.FAILED, "an attempt that its target refused")


async def nothing_lands_after_a_stop_at_the_target(stage: Stage) -> None:
    """What is inside has landed when the stop returns, or never will."""
    seam = stage.seam
    async with stage.open_run() as round_:
        attempt = asyncio.ensure_future(round_.attempt(Fault.HELD))
        try:
            inside = await round_.inside(attempt)
            demand(
                inside, f"{seam.name}: an effect that is held inside is not in flight; it settled too early"
            )
            stopping = asyncio.ensure_future(seam.stop_target(round_.run.run_id))
            await asyncio.wait([stopping], timeout=_WAITS)
            has_returned, at_stop = stopping.done(), round_.happened
        finally:
            seam.release(round_.key)
        await stopping
        at_stop = at_stop if has_returned else round_.happened
        await attempt
        later = round_.happened - at_stop
        demand(
            not later, f"{seam.name}: it is of grade A, and {later} effects landed after the stop returned"
        )


CHECKS: tuple[Check, ...] = (
    a_revoked_call_does_not_run,
    a_call_without_a_grant_does_not_run,
    a_call_without_the_service_does_not_run,
    a_call_that_nobody_answers_does_not_run,
    a_call_in_good_standing_runs_once,
    an_exception_settles_honestly,
    a_lost_connection_settles_honestly,
    a_cancel_while_inside_is_told_truly,
)

#: Those for seams of grade A alone.
CHECKS_OF_GRADE_A: tuple[Check, ...] = (
    a_stop_at_the_target_wins,
    nothing_lands_after_a_stop_at_the_target,
)
#: How long a stop that waits for nothing may take, in seconds; one that waits for the effect takes longer.
#: So long, too, is looked for what a refused attempt left behind: whoever is slower is not caught.
_WAITS = 0.3


def checks_of(seam: type[Seam] | Seam) -> tuple[Check, ...]:
    """Answer the rules that a seam is held to, by its grade."""
    return CHECKS + (CHECKS_OF_GRADE_A if seam.grade is Grade.A else ())


async def _settles(stage: Stage, fault: Fault, outcome: Outcome) -> None:
    async with stage.open_run() as round_:
        await round_.attempt(fault)
        _demand_outcome(stage.seam, await round_.settled(), outcome, f"an effect that suffered {fault}")
        _demand_true(stage.seam, round_, outcome)
        demand(
            fault is not Fault.LOST or round_.happened == 1,
            f"{stage.seam.name}: {fault} had {round_.happened} effects; it is to reach the target once, and "
            "only the answer to be lost: that is what must not be taken for a failure",
        )


def _demand_refused(seam: Seam, key: str, raised: Exception | None, why: str) -> None:
    happened = seam.happened(key)
    demand(happened == 0, f"{seam.name}: {why}, and it acted {happened} times; act only under a permit")
    expected = " or ".join(kind.__name__ for kind in seam.refusals)
    demand(
        isinstance(raised, seam.refusals),
        f"{seam.name}: {why}, and the attempt raised {raised!r}, not {expected}; tell whoever waits",
    )


def _demand_outcome(seam: Seam, actions: Sequence[ReportedAction], outcome: Outcome, of_what: str) -> None:
    states = [str(one.state) for one in actions]
    demand(
        states == [ActionState(outcome.value)],
        f"{seam.name}: {of_what} is on record as {', '.join(states) or 'nothing'}, not as one {outcome}",
    )


def _demand_true(seam: Seam, round_: Round, outcome: Outcome) -> None:
    """What is said to have happened has, once, what is said not to has not; unknown is true of both."""
    happened = round_.happened
    demand(happened <= 1, f"{seam.name}: one permit is for one effect, and it happened {happened} times")
    is_false = happened if outcome is Outcome.FAILED else outcome is Outcome.SUCCEEDED and not happened
    demand(not is_false, f"{seam.name}: it is on record as {outcome}, and happened {happened} times")
