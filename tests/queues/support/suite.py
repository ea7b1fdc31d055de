"""A queue as the conformance suite sees it, and what only queues can break."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

import countermand
from countermand import ActionState, CallOffState, Registry, compensator
from countermand.testing.conformance import Check, Fault, Grade, Seam, Stage
from countermand.testing.conformance.stage import Round
from tests.queues.support import work
from tests.queues.support.bench import Bench, kind_of, until
from tests.queues.support.page import ShownOnPage


class QueueSeam(Seam):
    """Jobs of one queue: an attempt enqueues one and waits for its result."""

    grade = Grade.B
    action = work.ACTION
    make: ClassVar[type[Bench]]

    async def start(self) -> None:
        self.bench = self.make(self.home)
        self.bench.start()
        await self.bench.open()

    async def close(self) -> None:
        try:
            await self.bench.shut()
        finally:
            self.bench.close()

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        await self.bench.result(await self.bench.put("hit", key, fault or ""))

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        """The job waits in the queue when its run is cancelled."""
        self.bench.worker.pause()
        try:
            job = await self.bench.put("hit", key, "")
            await stop()
        finally:
            self.bench.worker.resume()
        await self.bench.result(job)

    def happened(self, key: str) -> int:
        return self.bench.target.happened(key)

    def release(self, key: str) -> None:
        self.bench.target.release(key)


async def failure_of(bench: Bench, job: Any) -> str:
    """Name what the waiter of a job is told, which must not be a result."""
    with pytest.raises(BaseException) as raised:  # arq tells by a CancelledError that a job was aborted
        await bench.result(job)
    return kind_of(raised.value)


def bench_of(stage: Stage) -> Bench:
    seam = stage.seam
    assert isinstance(seam, QueueSeam)
    return seam.bench


def states(round_: Round, report: countermand.Report) -> list[str]:
    return [str(one.state) for one in round_.of_effect(report)]


async def a_refused_job_says_why_and_is_not_tried_again(stage: Stage) -> None:
    """Its waiter gets the reason as the result, which is final, and the report lists one late attempt."""
    seam, bench = stage.seam, bench_of(stage)
    async with stage.open_run() as round_:
        with pytest.raises(Exception) as raised:
            await seam.late(round_.key, round_.run.cancel)
        assert kind_of(raised.value) == "Revoked"
        assert round_.run.run_id in str(raised.value)
        late = (await round_.report()).late_attempts
        assert [one.action for one in late] == [work.ACTION]
    assert work.pids(round_.key) == []
    assert bench.target.happened(round_.key) == 0


async def a_job_past_the_integration_does_not_run(stage: Stage) -> None:
    """A job that brings no grant is refused by the worker, which says so."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        assert await failure_of(bench, await bench.put_bare("hit", round_.key, "")) == "NoGrant"
    assert work.pids(round_.key) == []


async def a_job_delivered_again_is_not_carried_out_again(stage: Stage) -> None:
    """The worker is lost in mid-job: whoever gets the job next is refused, and the result says so."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        job = await bench.put("hit", round_.key, Fault.HELD.value)
        await until(lambda: work.pids(round_.key))
        await bench.lose(work.pids(round_.key)[0], job)
        bench.target.release(round_.key)
        assert await failure_of(bench, job) == "AlreadyPermitted"
        assert states(round_, await round_.report()) == ["PERMITTED"]
    assert len(work.pids(round_.key)) == 1
    assert bench.target.happened(round_.key) == 0


async def a_job_that_did_nothing_is_tried_again_as_a_new_action(stage: Stage) -> None:
    """It says NotSent, and is carried out a second time, by what is left of its grant."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        assert await bench.result(await bench.put("flaky", round_.key)) == round_.key
        report = await round_.report()
        tried = [one for part in (report.not_done, report.done) for one in part if one.action == "job.flaky"]
        assert [one.state for one in tried] == [ActionState.FAILED, ActionState.SUCCEEDED]
        assert [one.op_id[-2:] for one in tried] == ["-0", "-1"]
    assert bench.target.happened(round_.key) == 1


async def a_job_that_may_have_acted_is_not_tried_again(stage: Stage) -> None:
    """Its queue would try whatever raises again: the result is what was raised, once."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        job = await bench.put("hit", round_.key, Fault.RAISED.value)
        assert await failure_of(bench, job) == "RuntimeError"
        assert states(round_, await round_.report()) == ["UNKNOWN"]
    assert len(work.pids(round_.key)) == 1


async def a_job_waits_for_a_sidecar_that_is_away(stage: Stage) -> None:
    """While none decides it does not run: the queue tries again, or the result says so."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        bench.worker.pause()
        try:
            job = await bench.put("hit", round_.key, "")
            await asyncio.to_thread(stage.service.stop)
        finally:
            bench.worker.resume()
        try:
            if not bench.tries_again:
                assert await failure_of(bench, job) == "NotRunning"
                assert work.pids(round_.key) == []
                return
            before = len(bench.worker.said())
            await until(lambda: bench.tries_again in bench.worker.said()[before:])
            assert work.pids(round_.key) == []
        finally:
            await asyncio.to_thread(stage.service.start)
        assert await bench.result(job) == round_.key
    assert bench.target.happened(round_.key) == 1


async def a_job_that_waited_longer_than_its_grant_lasts(stage: Stage) -> None:
    """Its worker has the grant extended, if told to; where it is not, the job is refused, and says so."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        bench.worker.pause()
        try:
            brief, lasting = await bench.put("brief", round_.key), await bench.put("lasting", round_.key)
            await asyncio.sleep(1.2)  # both grants last a second
        finally:
            bench.worker.resume()
        assert await failure_of(bench, brief) == "Expired"
        assert await bench.result(lasting) == round_.key
    assert len(work.pids(round_.key)) == 1
    assert bench.target.happened(round_.key) == 1


async def a_stop_reaches_a_job_at_work(stage: Stage) -> None:
    """Its body is interrupted, or told by its token; what became of it is unknown, and the waiter is told."""
    bench = bench_of(stage)
    async with stage.open_run() as round_:
        job = await bench.put("patient", round_.key)
        await until(lambda: work.pids(round_.key))
        at_cut = await round_.run.cancel(note="enough")
        assert [one.action for one in at_cut.in_flight] == ["job.patient"]
        assert await failure_of(bench, job) == "Stopped"
        [known] = [one for one in (await round_.report()).unknown if one.action == "job.patient"]
        assert known.settled_after_cut


async def a_job_that_waits_is_called_off(stage: Stage) -> None:
    """To enqueue is an action of its own; after a cancel the queue is told to drop the job, and does."""
    bench, registry = bench_of(stage), Registry()
    name, function = bench.canceller()
    registry.canceller(name)(function)
    async with stage.open_run() as round_:
        try:
            job = await bench.put_later("hit", round_.key, "")
            [put] = (await round_.report()).done
            assert put.action == "queue.enqueue"
            assert put.resource.startswith(f"{bench.name}:")
            await round_.run.cancel()
            async with countermand.connect(stage.service.home) as cm:
                await compensator(registry, client=cm).run_until_idle()
            [put] = (await round_.report()).done
            assert [one.state for one in put.call_offs] == [CallOffState.ACKNOWLEDGED]
        finally:
            bench.worker.resume()
        if bench.tells_called_off:
            assert await failure_of(bench, job) == bench.tells_called_off
        assert (await round_.report()).late_attempts == ()
    assert work.pids(round_.key) == []


async def no_token_is_logged_or_kept_with_a_result(stage: Stage) -> None:
    """After all that: every token begins like this, and is in neither."""
    bench = bench_of(stage)
    async with stage.open_run():
        token = await countermand.current_grant().token()
    assert token.reveal().startswith("eyJ")
    assert "eyJ" not in bench.worker.said()
    kept = bench.kept()
    assert kept, "nothing is kept of results, so this shows nothing"
    assert b"eyJ" not in kept


async def the_page_says_what_happens(stage: Stage) -> None:
    """Its programs do what it shows, on a database of their own."""
    bench = bench_of(stage)
    shown = ShownOnPage(bench.name, bench.folder / "page", bench.addresses())
    worker = shown.worker(bench.page_command(), stage.service.home)
    worker.start()
    try:
        told = await asyncio.to_thread(shown.says_so, stage.service.home)
        assert told == "", worker.said()[-3000:]
    finally:
        worker.kill()


JOB_CHECKS: tuple[Check, ...] = (
    a_refused_job_says_why_and_is_not_tried_again,
    a_job_past_the_integration_does_not_run,
    a_job_delivered_again_is_not_carried_out_again,
    a_job_that_did_nothing_is_tried_again_as_a_new_action,
    a_job_that_may_have_acted_is_not_tried_again,
    a_job_waits_for_a_sidecar_that_is_away,
    a_job_that_waited_longer_than_its_grant_lasts,
    a_stop_reaches_a_job_at_work,
    a_job_that_waits_is_called_off,
    no_token_is_logged_or_kept_with_a_result,
    the_page_says_what_happens,
)


class JobChecks:
    """What only queues can break, on the sidecar, the Redis and the worker of the conformance suite."""

    @pytest.mark.parametrize("check", JOB_CHECKS, ids=lambda check: check.__name__)
    def test_keeps(self, conformance_stage: Stage, check: Check) -> None:
        """The queue keeps the rule."""
        conformance_stage.run(check)
