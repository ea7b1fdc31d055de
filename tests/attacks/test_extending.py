"""Attack: to make authority last by asking for more time, with any token there is."""

import pytest

from tests.rpc.support import Served, intent, served

ASKED = {"ttl": {"seconds": 900}}


async def test_a_token_of_another_store_extends_nothing(sidecar: Served) -> None:
    """Its key is not trusted; and with the same key, what was signed must also be on record here."""
    await sidecar.grant("r-1", request_id="g-1")
    for own_keys, name, reason in ((True, "g-1", "TOKEN_UNTRUSTED"), (False, "g-2", "GRANT_UNKNOWN")):
        async with served(own_keys=own_keys) as other:
            token = await other.grant("r-1", request_id=name)
        assert (await sidecar.issuer.refused("ExtendGrant", grant_token=token, **ASKED)).reason == reason


@pytest.mark.parametrize("end", ["FinishRun", "CancelRun"])
async def test_no_token_outlives_its_run(sidecar: Served, end: str) -> None:
    """Neither its own run nor one above may have ended; and nothing happens under it afterwards."""
    await sidecar.issuer("OpenRun", run_id="r-0")
    await sidecar.issuer("OpenRun", run_id="r-1", parent_run_id="r-0")
    token = await sidecar.grant_for("r-1", ttl={"seconds": 1})
    if end == "FinishRun":
        await sidecar.issuer("FinishRun", run_id="r-0")
    else:
        await sidecar.cancel("r-0")
    for _ in range(2):
        refused = await sidecar.issuer.refused("ExtendGrant", grant_token=token, **ASKED)
        assert refused.reason in ("REVOKED", "RUN_FINISHED")
    assert (await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))).reason != ""
    kinds = {entry.kind for entry in await sidecar.journal("r-1")}
    assert kinds == {"OPENED", "ISSUED", "REFUSED"}


async def test_nothing_handed_on_is_kept_alive_by_itself(sidecar: Served) -> None:
    """Asking again and again for what was delegated leads to the end of what it comes from."""
    above = await sidecar.grant("r-1", ttl={"seconds": 10})
    child = (await sidecar.delegate(above, ttl={"seconds": 1})).grant_token
    for _ in range(9):
        sidecar.clock.advance(1)
        child = (await sidecar.issuer("ExtendGrant", grant_token=child, **ASKED)).grant_token
    await sidecar.tool("PerformAction", grant_token=child, intent=intent("o-1"))
    sidecar.clock.advance(1)
    assert (await sidecar.issuer.refused("ExtendGrant", grant_token=child, **ASKED)).reason == "GRANT_EXPIRED"
    refused = await sidecar.tool.refused("PerformAction", grant_token=child, intent=intent("o-2"))
    assert refused.reason == "GRANT_EXPIRED"


async def test_a_token_is_not_asked_how_long_it_lasts(sidecar: Served) -> None:
    """The newest token there is does not keep a grant alive; the oldest does not end it."""
    first = await sidecar.grant("r-1", ttl={"seconds": 1})
    newest = (await sidecar.issuer("ExtendGrant", grant_token=first, ttl={"seconds": 2})).grant_token
    sidecar.clock.advance(2)
    for token in (first, newest):
        refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
        assert refused.reason == "GRANT_EXPIRED"
    await sidecar.issuer("ExtendGrant", grant_token=first, ttl={"seconds": 60})
    await sidecar.tool("PerformAction", grant_token=first, intent=intent("o-1"))
