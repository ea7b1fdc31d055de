"""Playing one sequence on the model and on other stores, and comparing every answer and the whole state."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from grant_service.core import verbs
from grant_service.core.errors import Refusal
from grant_service.core.grant import GrantRef
from grant_service.core.journal import whole_journal
from grant_service.core.retention import release_of
from grant_service.core.store import Durability, Standing
from tests.store.rigs import Dump, MemoryRig, Rig
from tests.store.sequences import Again, Burst, LetGo, Move, NewEpoch, Step, Tell, Use

COMMANDS = {
    "prepare": verbs.Prepare,
    "commit": verbs.Commit,
    "perform": verbs.Perform,
    "settle": verbs.Settle,
    "abandon": verbs.Abandon,
    "delegate": verbs.Delegate,
    "extend": verbs.Extend,
    "spend": verbs.Spend,
}

#: Redis may have to be asked twice for these: the first time it answers with the path it has to be given.
ASKED_TWICE = frozenset({"open", "issue", "approve", "resolve", "undo", "claim", "release", "open_duties"})


class Difference(AssertionError):
    """Two stores disagree."""


@dataclass
class Played:
    """A step as it was really played, and what the model made of it."""

    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    time: int | None = None
    epoch: str = ""
    last_seq: int = 0


@dataclass
class Tally:
    """How often each verb was answered in each way: a campaign that only refuses proves little."""

    sequences: int = 0
    steps: int = 0
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    #: In which states duties of each kind were left at the end.
    duties: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __str__(self) -> str:
        answers = ", ".join(f"{verb} {how} {n}" for (verb, how), n in sorted(self.answers.items()))
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(self.reasons.items()))
        duties = ", ".join(f"{kind} {state} {n}" for (kind, state), n in sorted(self.duties.items()))
        return f"{self.sequences} sequences, {self.steps} steps; {answers}; {reasons}; {duties}"

    def count(self, story: "Story") -> None:
        """Count the answers in a story."""
        self.sequences += 1
        self.steps += len(story.steps)
        for played in story.steps:
            for (verb, _), answer in zip(played.calls, played.answers, strict=True):
                self._count_answer(verb, answer)
        self.duties.update((one["kind"], one["state"]) for one in story.end.duties.values())

    def _count_answer(self, verb: str, answer: Any) -> None:
        if answer is False:  # a run that is not let go of
            self.answers[verb, "refused"] += 1
        elif isinstance(answer, Refusal):
            self.answers[verb, "refused"] += 1
            self.reasons[answer.reason] += 1
        else:
            replayed = getattr(answer, "replayed", False)
            self.answers[verb, "replayed" if replayed else "accepted"] += 1


class Model:
    """Plays a sequence on the memory store, and turns its steps into real calls on the way."""

    def __init__(self, rig: MemoryRig) -> None:
        self._rig = rig
        self._made: list[tuple[str, tuple[Any, ...]]] = []
        self._epochs = 1

    async def play(self, step: Step) -> Played:
        """Play a step."""
        played = Played()
        match step:
            case Move():
                played.time = max(0, self._rig.time + step.ms)
                await self._rig.set_time(played.time)
            case NewEpoch():
                self._epochs += 1
                played.epoch = f"epoch-{self._epochs}"
                await self._rig.renew_epoch(played.epoch)
            case Burst():
                played.calls = [self._real(call) for call in step.calls]
            case LetGo():
                entries = await whole_journal(self._rig.store, step.run)
                told = release_of(step.run, entries[:-1] if step.late else entries)
                played.calls = [("release", (told,))]
            case Again():
                played.calls = self._made[-step.back :][:1]
            case _:
                played.calls = [self._real(step)]
        for call in played.calls:
            played.answers.append(await make(self._rig, call))
        self._made += played.calls
        played.last_seq = await self._rig.last_seq()
        return played

    def _real(self, step: Use | Tell) -> tuple[str, tuple[Any, ...]]:
        if isinstance(step, Tell):
            return step.verb, step.args
        command = COMMANDS[step.verb](grant=self._ref(step.grant, step.twist), peer=step.peer, **step.args)
        return step.verb, (command,)

    def _ref(self, grant_id: str, twist: str) -> GrantRef:
        grant = self._rig.state.grant(grant_id)
        if grant is None:
            return GrantRef(grant_id, "a", (), "tool", "")
        ref = GrantRef(grant_id, grant.run_id, grant.ancestors, grant.audience, "", grant.chain)
        match twist:
            case "other run":
                return replace(ref, run_id="b" if ref.run_id == "a" else "a")
            case "no path":
                return replace(ref, ancestors=ref.ancestors[1:])
            case "longer path":
                return replace(ref, ancestors=(*ref.ancestors, "c"))
            case "no chain":
                return replace(ref, chain=ref.chain[1:])
            case "longer chain":
                return replace(ref, chain=("g2", *ref.chain))
        return ref


async def make(rig: Rig, call: tuple[str, tuple[Any, ...]]) -> Any:
    """Make a call; how durable a store is is its own affair."""
    verb, args = call
    if verb == "recent_run_ids":  # asked at the store's own time
        args = (*args, (await rig.store.standing()).now)
    answer = await getattr(rig.store, verb)(*args)
    return replace(answer, durability=Durability.VOLATILE) if isinstance(answer, Standing) else answer


@dataclass
class Story:
    """A sequence as the model played it: what others must answer, and how they must stand at the end."""

    steps: list[Played]
    end: Dump


async def tell(sequence: Sequence[Step], model: MemoryRig) -> Story:
    """Play a sequence on the model."""
    await model.reset()
    teller = Model(model)
    return Story([await teller.play(step) for step in sequence], await model.dump())


async def compare(story: Story, rigs: Sequence[Rig]) -> None:
    """Play a story on other stores; raise Difference at the first answer or state unlike the model's."""
    # All play to their end before anything is raised, so that the next story meets nobody still playing.
    ends = await asyncio.gather(*(_follow(rig, story.steps) for rig in rigs), return_exceptions=True)
    for end in filter(None, ends):
        raise end
    for rig in rigs:
        if differences := (await rig.dump()).differences(story.end):
            raise Difference("\n".join([f"{type(rig).__name__}, whole state:", *differences]))


async def _follow(rig: Rig, played: Sequence[Played]) -> None:
    await rig.reset()
    for number, step in enumerate(played):
        if step.time is not None:
            await rig.set_time(step.time)
        if step.epoch:
            await rig.renew_epoch(step.epoch)
        answers, last_seq = await _answers(rig, step)
        for call, answer, wanted in zip(step.calls, answers, step.answers, strict=True):
            if answer != wanted:
                raise Difference(_told(rig, number, call, answer, wanted))
        if last_seq != step.last_seq:
            raise Difference(_told(rig, number, step.calls, f"seq {last_seq}", f"seq {step.last_seq}"))


async def _answers(rig: Rig, step: Played) -> tuple[list[Any], int]:
    """Make the calls of a step, and read the last number after them: in one turn, where that keeps the order.

    What may have to be asked twice comes alone, and the number after it.
    """
    if any(verb in ASKED_TWICE for verb, _ in step.calls):
        (call,) = step.calls
        return [await make(rig, call)], await rig.last_seq()
    *answers, last_seq = await asyncio.gather(*(make(rig, call) for call in step.calls), rig.last_seq())
    return answers, last_seq


def _told(rig: Rig, number: int, call: Any, answer: Any, wanted: Any) -> str:
    return f"{type(rig).__name__}, step {number}: {call}\n  answered {answer}\n  wanted   {wanted}"
