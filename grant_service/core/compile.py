"""Compiling a report: read the run, the runs above it and the runs below it, and tell their stories."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from grant_service.core.as_of import AsOf, Source
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.evidence import Head, head_of
from grant_service.core.fence import Fence
from grant_service.core.journal import MAX_REFUSALS_KEPT, whole_journal
from grant_service.core.report import Report, RunStory, tell
from grant_service.core.run import Run, end_of, may_lack_entries
from grant_service.core.store import Standing

#: From how many entries on a story is told in a thread.
_LONG = 200


async def compile_report(store: Source, run_id: str, at_seq: int = 0) -> Report | Refusal:
    """Report on a run and everything below it, as the store stands now, or as it stood at an entry."""
    if not at_seq:
        return await _compile(store, run_id)
    view = await AsOf.of(store, run_id, at_seq)
    if isinstance(view, Refusal):
        return view
    report = await _compile(view, run_id)
    return report if isinstance(report, Refusal) else replace(report, at_seq=at_seq)


async def _compile(store: Source, run_id: str) -> Report | Refusal:
    """Compile it.

    The time is taken before the journal is read: a permit that lapses in between is told as still in flight,
    never the other way round. After a cancel nothing that is read here can grow an accepted commit, so the
    runs need not be read in one step.
    """
    standing = await store.standing()
    runs = await _known(store, [run_id], {})
    run = runs[run_id]
    if run is None:
        return Refusal(ErrorReason.RUN_UNKNOWN, {"run": run_id})
    await _known(store, run.ancestors, runs)
    fences = await store.fences()
    stories: dict[str, RunStory] = {}
    heads: list[Head] = []
    level = [run_id]
    while level:
        for one in level:
            stories[one], head = await _story(store, one, runs, standing, fences)
            heads.append(head)
        level = [child for one in level for child in stories[one].children]
        await _known(store, level, runs)
    told = [(runs[one], story) for one, story in stories.items()]
    over = {one.seq: one for run_told in told for one in _over(*run_told, fences, standing.now)}
    report = _report(run, runs, stories, standing, tuple(over[seq] for seq in sorted(over)))
    return replace(report, heads=tuple(heads))


def _naming(run: Run | None, fences: Sequence[Fence]) -> list[Fence]:
    """Pick the fences that name this run, as far as runs can be named."""
    return [one for one in fences if run and set(one.run_marks) <= set(run.marks)]


def _over(run: Run | None, story: RunStory, fences: Sequence[Fence], now: int) -> list[Fence]:
    """Pick the fences that concern this run: those that came while it was there, or block it still."""
    if run is None:
        return []
    named = [one for one in fences if story.marks.union(run.marks).issuperset(one.selector.marks)]
    return [one for one in named if one.seq > run.open_seq or one.blocks(now)]


async def _known(store: Source, ids: Iterable[str], runs: dict[str, Run | None]) -> dict[str, Run | None]:
    new = [run_id for run_id in ids if run_id not in runs]
    runs.update(zip(new, await store.runs(new) if new else [], strict=True))
    return runs


async def _story(
    store: Source, run_id: str, runs: dict[str, Run | None], standing: Standing, fences: Sequence[Fence]
) -> tuple[RunStory, Head]:
    entries = await whole_journal(store, run_id)
    ids, path = _path(run_id, runs)
    end = end_of(path, ids, standing.epoch, standing.now)
    naming = _naming(runs[run_id], fences)
    lack = may_lack_entries(path, standing.epoch)

    def told() -> tuple[RunStory, Head]:
        return tell(entries, end, standing.now, lack, naming), head_of(run_id, entries)

    # A long story is told in a thread: decisions go on meanwhile.
    return await asyncio.to_thread(told) if len(entries) >= _LONG else told()


def _path(run_id: str, runs: dict[str, Run | None]) -> tuple[tuple[str, ...], list[Run | None]]:
    run = runs[run_id]
    ids = run.path if run else (run_id,)
    return ids, [runs.get(one) for one in ids]


def _report(
    run: Run,
    runs: dict[str, Run | None],
    stories: dict[str, RunStory],
    standing: Standing,
    fences: tuple[Fence, ...],
) -> Report:
    ids, path = _path(run.run_id, runs)
    end = end_of(path, ids, standing.epoch, standing.now)
    late = sorted((a for story in stories.values() for a in story.late_attempts), key=lambda a: a.seq)
    uncounted = sum(_uncounted(runs[one], story) for one, story in stories.items()) if end else 0
    gaps = [gap for one, story in stories.items() for gap in _gaps(one, runs[one], story, standing)]
    return Report(
        run=run,
        end=end,
        descendants=tuple(one for one in stories if one != run.run_id),
        last_seq=max(story.last_seq for story in stories.values()),
        time=standing.now,
        epoch=standing.epoch,
        durability=standing.durability,
        gaps=tuple(gaps),
        may_lack=any(may_lack_entries(_path(one, runs)[1], standing.epoch) for one in stories),
        actions=tuple(action for story in stories.values() for action in story.actions),
        late_attempts=tuple(late),
        late_attempt_count=len(late) + uncounted,
        fences=fences,
    )


def _uncounted(run: Run | None, story: RunStory) -> int:
    """Count the refusals beyond the list, if they are known to be late: the list itself reaches the stop."""
    return max(0, run.refusals - story.refusals) if run and story.opened and story.late_attempts else 0


def _gaps(run_id: str, run: Run | None, story: RunStory, standing: Standing) -> Iterable[str]:
    """Say what this report cannot know."""
    if run is None:
        yield f"the record of run {run_id} is no longer kept, or was lost: what it did may be missing here"
        return
    prepared = len(story.actions)
    if run.was_opened and (not story.opened or prepared < run.actions):
        yield (
            f"part of the journal of run {run_id} is no longer kept, or was lost: "
            f"{prepared} of {run.actions} actions are here"
        )
    if run.was_opened and run.epoch != standing.epoch:
        yield (
            f"run {run_id} belongs to store epoch {run.epoch}, the store is in {standing.epoch}: "
            "what happened just before the change may be missing here, and what is unknown may have happened"
        )
    if story.refusals >= MAX_REFUSALS_KEPT < run.refusals:
        yield f"run {run_id} had {run.refusals} refused calls; the first {MAX_REFUSALS_KEPT} are listed"
