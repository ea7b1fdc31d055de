"""Tokens that are not, or no longer, worth anything: each refused for its own reason, and shown to nobody."""

import time

import pytest

from grant_service.tokens.keys import load_or_create
from grant_service.tokens.mint import mint
from tests.support.caller import Caller, refused
from tests.support.messages import listed
from tests.support.sidecar import SidecarProcess, sidecar_running


def test_a_call_without_token_is_told_to_bring_one(caller: Caller, run: str) -> None:
    """The one thing a tool must be given."""
    token = caller.begin(run)
    with refused("TOKEN_MISSING") as told:
        caller.perform("", "op-1")
    assert told.message == "the call carries no grant token; issue a grant and pass its token"
    assert caller.perform(token, "op-1").fence


def test_a_grant_the_store_does_not_have_is_worth_nothing(
    sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """A token is a pointer: signed with our very own key, it still does not replace the record."""
    caller.begin(run)
    now = int(time.time() * 1000)
    forged = mint(
        load_or_create(sidecar.home / "keys"),
        grant_id="g-never-issued",
        run_id=run,
        ancestors=(),
        audience="tool",
        subject="",
        issue_time=now,
        expire_time=now + 60_000,
    )
    with refused("GRANT_UNKNOWN") as told:
        caller.perform(forged.reveal(), "op-1")
    assert told.message == "the store has no grant g-never-issued: do not act; issue a new grant"
    assert caller.kinds(run) == ["OPENED", "ISSUED"]


def test_an_expired_grant_prepares_nothing_more(caller: Caller, run: str) -> None:
    """Its time is up by the store's clock; what it had been permitted stays on record and can be settled."""
    token = caller.begin(run, ttl=0.3)
    caller.prepare(token, "op-1")
    caller.perform(token, "op-2")
    time.sleep(0.35)
    for verb in (caller.prepare, caller.perform):
        with refused("GRANT_EXPIRED") as told:
            verb(token, "op-3")
        assert told.message.endswith(
            "has expired: do not act; extend it, or issue a new one, if the run goes on"
        )
    with refused("PREPARE_EXPIRED") as told:
        caller.commit(token, "op-1")
    assert "was not committed in time: do not act" in told.message
    caller.settle(token, "op-2")
    report = caller.report(run)
    assert set(listed(report, "done")) == {"op-2"}
    assert set(listed(report, "not_done")) == {"op-1"}
    assert caller.perform(caller.issue(run), "op-4").fence, "the run goes on under a new grant"


def test_a_token_of_another_sidecar_is_not_trusted(caller: Caller, run: str) -> None:
    """Well-formed, well signed, by a key that is not ours: refused before the store is asked."""
    with sidecar_running() as other, Caller(other) as stranger:
        foreign = stranger.begin(run)
    ours = caller.begin(run)
    with refused("TOKEN_UNTRUSTED") as told:
        caller.perform(foreign, "op-1")
    assert told.message == "no key of this sidecar signed the grant token; issue the grant here"
    assert foreign not in str(told.details)
    assert caller.kinds(run) == ["OPENED", "ISSUED"]
    assert caller.perform(ours, "op-1").fence


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_a_tampered_token_is_refused(caller: Caller, run: str, part: int) -> None:
    """One letter changed, in whichever part, and it is nobody's token."""
    token = caller.begin(run)
    parts = token.split(".")
    middle = len(parts[part]) // 2
    letter = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + letter + parts[part][middle + 1 :]
    with refused("TOKEN_MALFORMED", "TOKEN_UNTRUSTED"):
        caller.perform(".".join(parts), "op-1")
    assert caller.kinds(run) == ["OPENED", "ISSUED"]
    assert caller.perform(token, "op-1").fence


def test_an_oversized_token_is_refused_by_its_size(caller: Caller, run: str) -> None:
    """The work for a token does not grow with what a caller sends."""
    token = caller.begin(run)
    with refused("TOKEN_TOO_LARGE") as told:
        caller.perform(token + "A" * 4096, "op-1")
    assert told.message == (
        f"the grant token has {len(token) + 4096} characters, more than 4096; pass the token unchanged"
    )
    assert caller.perform(token, "op-1").fence


def test_a_request_beyond_the_size_limit_is_refused_and_the_next_is_served(caller: Caller, run: str) -> None:
    """5 MB of token never reach the code that reads tokens; the connection lives on."""
    token = caller.begin(run)
    with refused("") as told:
        caller.perform(token + "A" * 5_000_000, "op-1")
    assert told.code == "RESOURCE_EXHAUSTED"
    assert caller.perform(token, "op-1").fence


def test_a_grant_for_another_audience_is_refused(caller: Caller, run: str) -> None:
    """A stolen grant is worth nothing to a peer it was not issued for; the attempt is in the journal."""
    ours, theirs = caller.begin(run), caller.issue(run, audience="billing")
    with refused("WRONG_AUDIENCE") as told:
        caller.perform(theirs, "op-1")
    assert "is for billing, not for tool; issue one for tool" in told.message
    assert caller.entries(run)[-1].data["reason"] == "WRONG_AUDIENCE"
    assert caller.perform(ours, "op-1").fence


def test_an_action_prepared_under_another_grant_is_refused(caller: Caller, run: str) -> None:
    """Two grants of one run do not share their actions: each has its own scopes and uses."""
    first, second = caller.begin(run), caller.issue(run)
    caller.prepare(first, "op-1")
    with refused("WRONG_GRANT") as told:
        caller.commit(second, "op-1")
    assert told.message == f"action op-1 was prepared under another grant of run {run}; use that grant"
    assert caller.commit(first, "op-1").fence


def test_no_token_shows_in_what_the_sidecar_says(sidecar: SidecarProcess, caller: Caller, run: str) -> None:
    """Not in its log, not in a refusal, not in the journal: whoever reads those gets no authority."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    with refused("ACTION_UNKNOWN") as told:
        caller.commit(token, "op-2")
    sidecar.wait_said("ACTION_UNKNOWN", run)
    said = [sidecar.out, sidecar.err, told.message, *told.details.values()]
    said += [f"{entry}" for entry in caller.entries(run)] + [f"{caller.report(run)}"]
    for part in token.split("."):
        assert not any(part in text for text in said)
