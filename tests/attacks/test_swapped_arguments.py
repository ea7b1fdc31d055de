"""Attack: the arguments change between prepare and commit."""

import unicodedata
from typing import Any

import pytest

from countermand._digest import digest
from tests.rpc.support import Served, commit, intent

AGREED: dict[str, Any] = {"to": "caf\u00e9@example.com", "amount": 100, "cc": ["a", "b"], "urgent": True}

#: What looks the same to somebody, or to some parser, and is another instruction.
SWAPS: dict[str, dict[str, Any]] = {
    "another-value": {"amount": 1_000_000},
    "a-float-of-the-same-size": {"amount": 100.0},
    "a-text-of-the-same-digits": {"amount": "100"},
    "true-as-one": {"urgent": 1},
    "letters-composed-otherwise": {"to": unicodedata.normalize("NFD", str(AGREED["to"]))},
    "a-letter-that-looks-the-same": {"to": "c\u0430f\u00e9@example.com"},
    "a-space-at-the-end": {"to": f"{AGREED['to']} "},
    "an-invisible-letter": {"to": f"{AGREED['to']}\u200b"},
    "other-letter-case": {"to": str(AGREED["to"]).upper()},
    "another-order": {"cc": ["b", "a"]},
    "one-more": {"cc": ["a", "b", "c"]},
    "a-name-more": {"bcc": []},
    "nothing-instead-of-an-empty-list": {"cc": None},
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
async def test_changed_arguments_get_no_permit(
    sidecar: Served, logs: list[dict[str, Any]], swap: dict[str, Any]
) -> None:
    """Refused, journalled and alarmed; the action as it was agreed can still be committed."""
    token = await sidecar.grant()
    told = intent("o-1", digest=digest(AGREED))
    await sidecar.tool("PrepareAction", grant_token=token, intent=told)
    swapped = commit(token, "o-1", digest=digest(AGREED | swap))
    refused = await sidecar.tool.refused("CommitAction", **swapped)
    assert refused.reason == "DIGEST_MISMATCH"
    assert "do not act" in refused.message
    assert await sidecar.refusals() == [("commit", "DIGEST_MISMATCH")]
    assert [event["log_level"] for event in logs if event["event"] == "refused"] == ["warning"]
    agreed = commit(token, "o-1", digest=digest(AGREED))
    assert (await sidecar.tool("CommitAction", **agreed)).permit.fence
    # With the permit given, another digest is still another action.
    assert (await sidecar.tool.refused("CommitAction", **swapped)).reason == "DIGEST_MISMATCH"


async def test_the_same_arguments_in_another_order_are_the_same(sidecar: Served) -> None:
    """The control: what is refused above is a difference, not a whim."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1", digest=digest(AGREED)))
    turned = dict(reversed(AGREED.items()))
    assert (await sidecar.tool("CommitAction", **commit(token, "o-1", digest=digest(turned)))).permit.fence


@pytest.mark.parametrize("bit", [0, 7, 100, 255])
async def test_a_digest_is_compared_to_its_last_bit(sidecar: Served, bit: int) -> None:
    """No prefix is enough."""
    token = await sidecar.grant()
    told = digest(AGREED)
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1", digest=told))
    turned = (int.from_bytes(told, "big") ^ (1 << bit)).to_bytes(32, "big")
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1", digest=turned))
    assert refused.reason == "DIGEST_MISMATCH"
