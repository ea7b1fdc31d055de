"""The sidecar is killed before each single step of a decision; afterwards journal and report are true.

A tool acts only when it was told to go, so the effects are known here. After each crash: what was decided is
what had been made durable, the same call again gets that decision, every effect is in the report, and nothing
that may have happened is called stopped.
"""

from collections.abc import Iterator

import pytest

from countermand.v1 import journal_service_pb2 as journal_pb
from tests.e2e.crashing import TRACE
from tests.support.caller import Caller, refused
from tests.support.messages import PERMITTED_PARTS, listed
from tests.support.standby import Lives, lives_of_a_sidecar

DURABLE = "commit"


class Story:
    """One run that is crashed, and what is known of it: one action is permitted, one is prepared."""

    def __init__(self, caller: Caller, verb: str, step: int | str) -> None:
        self.target = f"{'die' if isinstance(step, int) else 'trace'}.{verb}.{step}"
        self.run = self.target if verb == "cancel" else f"r-{verb}-{step}"
        self.token = caller.begin(self.run)
        self.effects = {"kept": caller.perform(self.token, "kept", within=60).fence}
        caller.prepare(self.token, "waiting", ttl=600)
        if verb == "commit":
            caller.prepare(self.token, self.target, ttl=600)
        if verb == "settle":
            self.effects[self.target] = caller.perform(self.token, self.target, within=60).fence

    def act(self, caller: Caller, op: str, verb: str = "commit") -> bool:
        """Ask for a permit and act on it; answer whether it was one given before."""
        call = caller.perform if verb == "perform" else caller.commit
        permit = call(self.token, op, within=60)
        self.effects[op] = permit.fence
        return bool(permit.replayed)

    def check(self, report: journal_pb.Report) -> None:
        """Every effect is in the report under its number, and in no part that says it did not happen."""
        told = {op: action.fence for op, action in listed(report, *PERMITTED_PARTS).items()}
        assert self.effects.items() <= told.items()
        assert not self.effects.keys() & listed(report, "interrupted", "not_done", "pending").keys()
        assert report.complete


class Crashes:
    """A sidecar that is crashed again and again on the same data."""

    def __init__(self, lives: Lives) -> None:
        self._lives, self.caller = lives, Caller(lives.sidecar)

    def steps(self, verb: str) -> list[str]:
        """The steps of a verb, as they are taken when nobody crashes."""
        before = len(self._lives.sidecar.err)
        _call(self.caller, verb, Story(self.caller, verb, "all"))
        (line,) = [line for line in self._lives.sidecar.err[before:].splitlines() if line.startswith(TRACE)]
        return line.split()[1:]

    def crash(self, verb: str, step: int) -> Story:
        """Crash in the decision of a verb, before a step; come back on what is left on the disk."""
        story = Story(self.caller, verb, step)
        with refused("") as told:
            _call(self.caller, verb, story)
        assert told.code == "UNAVAILABLE"
        self._again()
        return story

    def answer(self, verb: str, step: int) -> Story:
        """Let a decision of a verb be answered, and crash then."""
        story = Story(self.caller, verb, step)
        _call(self.caller, verb, story)
        self._lives.kill()
        self._again()
        return story

    def _again(self) -> None:
        """Wait for its next life, and call it anew."""
        self.caller.close()
        self._lives.wait_for_next()
        self.caller = Caller(self._lives.sidecar)


def _call(caller: Caller, verb: str, story: Story) -> None:
    match verb:
        case "commit":
            caller.commit(story.token, story.target, within=60)
        case "perform":
            caller.perform(story.token, story.target, within=60)
        case "settle":
            caller.settle(story.token, story.target, receipt="msg-9")
        case "cancel":
            caller.cancel(story.run)


@pytest.fixture(scope="module")
def crashes() -> Iterator[Crashes]:
    """The sidecar of this module, on whose data everything happens."""
    with lives_of_a_sidecar(("-m", "tests.e2e.crashing")) as lives:
        crashes = Crashes(lives)
        yield crashes
        crashes.caller.close()


def every_crash(crashes: Crashes, verb: str, *, at_least: int) -> Iterator[tuple[Story, bool, bool]]:
    """Crash before each step in turn, last after the answer: the story, whether it was decided, a coin."""
    steps = crashes.steps(verb)
    assert len(steps) >= at_least, steps
    durable = steps.index(DURABLE)
    for step in range(len(steps)):
        yield crashes.crash(verb, step), step > durable, step % 2 == 0
    yield crashes.answer(verb, len(steps)), True, False
    require_every_number_once(crashes.caller)


def require_every_number_once(caller: Caller) -> None:
    """What a crash took back it took back whole: the numbers of all runs are the numbers from one on."""
    numbers = [entry.seq for run in caller.runs() for entry in caller.entries(run.run_id)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def permitted_in_journal(caller: Caller, story: Story) -> bool:
    """Look into the journal itself."""
    return any(one.kind == "PERMITTED" and one.op_id == story.target for one in caller.entries(story.run))


@pytest.mark.parametrize("verb", ["commit", "perform"])
def test_a_commit_crashed_anywhere_is_decided_once_and_told_truly(crashes: Crashes, verb: str) -> None:
    """Asked again it is the same permit or a new one, never a second; asked after a cancel it is neither."""
    for story, decided, cancelled_first in every_crash(crashes, verb, at_least=8):
        caller, op = crashes.caller, story.target
        story.check(caller.report(story.run))
        assert permitted_in_journal(caller, story) is decided, op
        if cancelled_first:
            report = caller.cancel(story.run).report
            assert (op in listed(report, *PERMITTED_PARTS)) is decided
            assert (op in listed(report, "interrupted")) is (not decided and verb == "commit")
            with refused("REVOKED") as told:
                story.act(caller, op, verb)
            assert told.details.get("prior_decision") == ("PERMITTED" if decided else None)
        else:
            assert story.act(caller, op, verb) is decided, f"{op}: a permit is given once"
            report = caller.cancel(story.run).report
        story.check(report)
        assert "waiting" in listed(report, "interrupted")


def test_a_cancel_crashed_anywhere_has_stopped_the_run_or_not_and_says_which(crashes: Crashes) -> None:
    """A cancel that was not answered may have happened; asked again it tells, and the cut is made once."""
    for story, decided, commit_first in every_crash(crashes, "cancel", at_least=8):
        caller = crashes.caller
        assert (caller.run(story.run).end.seq > 0) is decided
        if decided:
            with refused("REVOKED"):
                story.act(caller, "waiting")
        elif commit_first:
            assert not story.act(caller, "waiting")
        answer = caller.cancel(story.run)
        assert answer.replayed is decided
        story.check(answer.report)
        assert ("waiting" in listed(answer.report, "interrupted")) is ("waiting" not in story.effects)
        assert caller.kinds(story.run).count("CANCELLED") == 1


def test_a_settle_crashed_anywhere_is_told_as_done_only_if_it_is_on_record(crashes: Crashes) -> None:
    """What the tool said and nobody wrote down is still open; said again it is written down, once."""
    for story, decided, _ in every_crash(crashes, "settle", at_least=8):
        caller, op = crashes.caller, story.target
        report = caller.report(story.run)
        story.check(report)
        assert (op in listed(report, "done")) is decided
        assert caller.settle(story.token, op, receipt="msg-9").replayed is decided
        report = caller.cancel(story.run).report
        story.check(report)
        assert listed(report, "done")[op].receipt == "msg-9"
        assert caller.kinds(story.run).count("SETTLED") == 1
