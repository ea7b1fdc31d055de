"""Attack: ids are guessed, and answers are compared to learn what is there."""

import random
import re
from typing import Any

from grant_service.app import random_id
from tests.rpc.support import Served, cancel, commit, intent


async def test_generated_ids_cannot_be_guessed(sidecar: Served) -> None:
    """96 bits from the system's own randomness: no two alike, and nothing in them that counts."""
    runs = [(await sidecar.issuer("OpenRun")).run.run_id for _ in range(200)]
    grants = [
        (await sidecar.issuer("IssueGrant", run_id=runs[0], scopes=[{"action": "*"}])).grant.grant_id
        for _ in range(200)
    ]
    for prefix, ids in (("r", runs), ("g", grants)):
        assert len(set(ids)) == 200
        assert all(re.fullmatch(rf"{prefix}-[0-9a-f]{{24}}", one) for one in ids)
        bits = [int.from_bytes(bytes.fromhex(one[2:])) for one in ids]
        # Every one of the 96 bits is seen in both positions: a constant one shows with a chance of 2 ** -199.
        assert all(0 < sum(one >> bit & 1 for one in bits) < 200 for bit in range(96))


def test_the_randomness_is_not_seeded() -> None:
    """Whoever knows when it was started knows nothing."""
    random.seed(1)
    first = random_id("r-")
    random.seed(1)
    assert random_id("r-") != first


async def test_a_tool_hears_the_same_of_runs_that_are_there_and_that_are_not(sidecar: Served) -> None:
    """It may not cancel at all, so its attempts tell it nothing, and leave nothing."""
    await sidecar.grant("r-there")
    told = []
    for run_id in ("r-there", "r-not-there"):
        refused = await sidecar.tool.refused("CancelRun", **cancel(run_id))
        told.append((refused.reason, refused.code, refused.metadata, refused.message))
    assert told[0] == told[1]
    assert "r-not-there" not in sidecar.store.state.runs


async def test_a_flood_of_cancels_by_a_tool_stops_nothing(sidecar: Served) -> None:
    """A thousand guesses, a hundred of them right."""
    for number in range(100):
        await sidecar.issuer("OpenRun", run_id=f"r-{number}")
    before = sidecar.store.state.seq
    for number in range(1000):
        assert (await sidecar.tool.refused("CancelRun", **cancel(f"r-{number}"))).reason == "ROLE_NOT_ALLOWED"
    assert sidecar.store.state.seq == before
    assert {run.state.value for run in sidecar.store.state.runs.values()} == {"ACTIVE"}


async def test_an_action_of_another_run_is_as_unknown_as_one_that_is_not_there(sidecar: Served) -> None:
    """A tool sees its own run only: the same words for both, in each verb."""
    victim = await sidecar.grant("r-victim")
    await sidecar.permit(victim, "o-there")
    token = await sidecar.grant("r-mine")
    for method in ("CommitAction", "SettleAction", "AbandonAction"):
        told = []
        for op_id in ("o-there", "o-none0"):
            fields: dict[str, Any] = {"grant_token": token, "op_id": op_id}
            fields |= {"digest": commit("", "")["digest"]} if method == "CommitAction" else {}
            fields |= {"outcome": 1} if method == "SettleAction" else {}
            refused = await sidecar.tool.refused(method, **fields)
            told.append(repr(refused).replace(op_id, "OP"))
        assert told[0] == told[1]
        assert "ACTION_UNKNOWN" in told[0]
    assert "r-victim" not in repr(told)
    assert {entry.kind for entry in await sidecar.journal("r-victim")} == {
        *("OPENED", "ISSUED", "PREPARED", "PERMITTED")
    }


async def test_the_same_op_id_in_two_runs_is_two_actions(sidecar: Served) -> None:
    """Nobody can take another run's op_id away by using it first."""
    for run_id in ("r-1", "r-2"):
        token = await sidecar.grant(run_id)
        permit = (await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))).permit
        assert not permit.replayed
