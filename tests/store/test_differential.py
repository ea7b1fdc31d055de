"""The stores hold each other to the rules: the same random sequences on memory, SQLite and real Redis.

COUNTERMAND_FUZZ_SEQUENCES sets how many. A failing sequence is shrunk and printed, with the line that plays
it again (`@reproduce_failure`), and is tried first the next time.
"""

import asyncio
import os
from collections.abc import Callable
from itertools import product

from hypothesis import HealthCheck, given, settings

from grant_service.core.errors import ErrorReason
from tests.store.differential import Tally, compare, tell
from tests.store.rigs import MemoryRig, Rig
from tests.store.sequences import Step, sequences

SEQUENCES = int(os.environ.get("COUNTERMAND_FUZZ_SEQUENCES", "2000"))

#: What Hypothesis plays without forgetting what it has played: more would only cost memory.
ROUND = 2000

#: Answers of the doors before a store, of its driver or its disk; no sequence of calls brings them about.
NOT_BY_RULES = {
    ErrorReason.INVALID_REQUEST,
    ErrorReason.ROLE_NOT_ALLOWED,
    ErrorReason.VERB_NOT_SERVED,
    ErrorReason.TOKEN_MISSING,
    ErrorReason.TOKEN_TOO_LARGE,
    ErrorReason.TOKEN_MALFORMED,
    ErrorReason.TOKEN_UNTRUSTED,
    ErrorReason.ANSWER_TOO_LARGE,
    ErrorReason.TOOL_MISMATCH,
    ErrorReason.STORE_UNAVAILABLE,
    ErrorReason.TIMED_OUT,
    ErrorReason.OVERLOADED,
    ErrorReason.DRAINING,
    ErrorReason.STORE_FULL,
    ErrorReason.STORE_UNFIT,
    ErrorReason.INTERNAL,
}

VERBS = (
    *("open", "issue", "delegate", "extend", "prepare", "commit", "perform", "settle", "abandon", "spend"),
    *("finish", "cancel", "revoke", "freeze", "lift", "approve", "deny"),
    *("resolve", "undo", "withdraw", "claim", "renew", "complete", "fail", "release"),
)
#: A cancel is never refused; what is kept for longer twice is so twice; what is let go of a second time is
#: not there any more.
NEVER = {("cancel", "refused"), ("renew", "replayed"), ("release", "replayed")}

DUTIES = {
    *product(["UNDO", "CALL_OFF", "ASK"], ["OPEN", "DONE", "FAILED", "MOOT"]),
    ("UNDO", "WITHDRAWN"),
    ("CALL_OFF", "REFUSED"),
}


def test_all_stores_answer_alike(loop: asyncio.AbstractEventLoop, rigs: tuple[MemoryRig, list[Rig]]) -> None:
    """Every answer and the whole state are the model's, whatever is asked in whatever order."""
    (model, others), tally = rigs, Tally()

    async def play(sequence: list[Step]) -> None:
        story = await tell(sequence, model)
        tally.count(story)
        await compare(story, others)

    for done in range(0, SEQUENCES, ROUND):
        count = min(ROUND, SEQUENCES - done)
        _campaign(count, lambda sequence: loop.run_until_complete(play(sequence)))
    print(tally)
    if SEQUENCES >= ROUND:
        _assert_not_trivial(tally)


def _campaign(count: int, play: Callable[[list[Step]], None]) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(sequences())
    def campaign(sequence: list[Step]) -> None:
        play(sequence)

    campaign()


def _assert_not_trivial(tally: Tally) -> None:
    """Every verb was answered in every way there is, for every reason the rules know, every duty left so."""
    wanted = {(verb, how) for verb in VERBS for how in ("accepted", "replayed", "refused")}
    assert wanted - tally.answers.keys() == NEVER
    assert set(ErrorReason) - NOT_BY_RULES == set(tally.reasons)
    assert set(tally.duties) == DUTIES
