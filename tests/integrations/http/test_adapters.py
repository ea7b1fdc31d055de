"""Each adapter, in each situation, against a real server: what reaches it, and what is on record of it."""

import asyncio
import socket
from contextlib import suppress

import pytest

import countermand
from countermand.integrations._http.deadline import time_left
from countermand.integrations._http.sending import Rules
from countermand.testing import Sidecar
from countermand.testing.conformance.stage import caught
from tests.integrations.http.clients import SENDERS, Sender
from tests.integrations.http.opened import on_record, sending
from tests.integrations.http.target import Target, serving

each = pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)

#: What the target does, and what is honestly on record then.
SITUATIONS = {
    "ok": "SUCCEEDED",
    "half": "SUCCEEDED",  # its status and headers came; that the rest of the body did not changes nothing
    "303": "SUCCEEDED",
    "404": "FAILED",
    "429": "FAILED",
    "408": "UNKNOWN",
    "500": "UNKNOWN",
    "503": "UNKNOWN",
    "drop": "UNKNOWN",
}


@each
async def test_what_became_of_a_write_is_on_record(kind: type[Sender], real: Sidecar, target: Target) -> None:
    """Answered, refused, failed, or lost: never more is said than is known, and each is sent once."""
    async with sending(kind, target.url, real) as (sender, run):
        for what in SITUATIONS:
            with suppress(Exception):
                await sender.send(kind.method, what, f"became-{kind.__name__}", body=b"x")
        told = {one.resource.split("/")[3]: str(one.state) for one in await on_record(run)}
    assert told == SITUATIONS
    writes = [seen.what for seen in target.of(f"became-{kind.__name__}") if seen.method == kind.method]
    assert writes == [*SITUATIONS]


@each
async def test_a_target_that_is_too_slow_is_unknown(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """The client waits no longer, and the target may be about to act."""
    key, hasty = f"slow-{kind.__name__}", type("Hasty", (kind,), {"seconds": 0.3})
    async with sending(hasty, target.url, real) as (sender, run):
        assert await caught(sender.send(kind.method, "stall", key, body=b"x"))
        [action] = (await run.report()).unknown
    target.release(key)
    assert action.note.startswith("left by ")
    assert len(target.of(key)) == 1


@each
async def test_what_was_not_sent_is_called_so(kind: type[Sender], real: Sidecar) -> None:
    """Where nobody listens nothing was sent, and the outcome is known."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with sending(kind, url, real) as (sender, run):
            assert await caught(sender.send(kind.method, "ok", "never", body=b"x"))
            [action] = (await run.report()).not_done
    assert (action.state, action.note[:8]) == ("FAILED", "not sent")


@each
async def test_a_connection_that_is_reset_unread_is_unknown(kind: type[Sender], real: Sidecar) -> None:
    """Nobody here can tell what the other end has read, unless it was reset before the first byte."""
    with serving(deaf=True) as deaf:
        async with sending(kind, deaf.url, real) as (sender, run):
            assert await caught(sender.send(kind.method, "ok", "reset", body=b"x" * 100_000))
            [action] = await on_record(run)
    assert action.state == "UNKNOWN" or action.note.startswith("not sent")


@each
async def test_what_a_permit_adds_arrives(kind: type[Sender], real: Sidecar, target: Target) -> None:
    """The effect's name, the permit's number, and how long the grant lasts, all of which the target may heed.

    Not how long the permit does: the work has to begin by its use-by, and may take longer.
    """
    key = f"added-{kind.__name__}"
    async with sending(kind, target.url, real) as (sender, run):
        assert await sender.send(kind.method, "ok", key, body=b"x") == 200
        [action] = (await run.report()).done
    [seen] = target.of(key)
    assert seen.headers.get_all("idempotency-key") == [action.op_id]
    assert seen.headers.get_all("countermand-fence") == [str(action.fence)]
    left = time_left([(b"request-timeout", seen.headers["request-timeout"].encode())])
    assert left is not None
    assert 200 < left <= 300
    assert action.action == kind.action.format(kind.method.lower())
    assert (action.resource, action.receipt) == (f"{target.url}/ok/{key}", "req-1")


@each
async def test_a_write_after_a_cancel_never_arrives(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """The one before it did, and reads go on, with nothing added to them."""
    key = f"late-{kind.__name__}"
    async with sending(kind, target.url, real) as (sender, run):
        await sender.send(kind.method, "ok", f"{key}-before")
        await run.cancel()
        for method in (kind.method, "DELETE"):
            with pytest.raises(countermand.Revoked):
                await sender.send(method, "ok", key)
        assert await sender.send("GET", "ok", f"{key}-read") == 200
        assert len((await run.report()).late_attempts) == 2
    assert target.of(key) == []
    assert [seen.method for seen in target.of(f"{key}-before")] == [kind.method]
    assert [seen.headers["idempotency-key"] for seen in target.of(f"{key}-read")] == [None]


@each
async def test_without_its_seam_a_write_after_a_cancel_arrives(
    kind: type[Sender], real: Sidecar, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a client that takes every write for a read sends it."""
    key = f"control-{kind.__name__}"
    monkeypatch.setattr(Rules, "sending", lambda *_: None)
    monkeypatch.setattr("countermand.integrations.boto3._Gate.before_send", lambda *_, **__: None)
    async with sending(kind, target.url, real) as (sender, run):
        await run.cancel()
        await sender.send(kind.method, "ok", key)
    assert len(target.of(key)) == 1


@each
async def test_writes_that_race_a_cancel_are_on_record_or_never_arrive(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """Each arrived under a permit from before the cut, once; what was refused did not."""
    key = f"race-{kind.__name__}"

    async def write(sender: Sender) -> Exception:
        while not (error := await caught(sender.send(kind.method, "ok", key))):
            pass
        return error

    async with sending(kind, target.url, real) as (sender, run):
        writers = [asyncio.create_task(write(sender)) for _ in range(4)]
        while len(target.of(key)) < 8:  # noqa: ASYNC110 - a thread of the target tells nobody
            await asyncio.sleep(0.001)
        report = await run.cancel()
        refused = await asyncio.gather(*writers)
        actions = await on_record(run)
        late = (await run.report()).late_attempts
    arrived = [seen.headers["idempotency-key"] for seen in target.of(key)]
    assert sorted(arrived) == sorted(one.op_id for one in actions)
    assert {one.state for one in actions} == {"SUCCEEDED"}
    assert {one.op_id for one in actions} == {one.op_id for one in (*report.done, *report.in_flight)}
    assert [type(error) for error in refused] == [countermand.Revoked] * 4
    assert len(late) == 4


@each
async def test_reads_are_asked_for_where_that_is_wanted(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """They are declared as what they are, so that a scope can allow nothing else."""
    key = f"read-{kind.__name__}"
    async with sending(kind, target.url, real, granted=False, reads=True) as (sender, run):
        with pytest.raises(countermand.NoGrant):
            await sender.send("GET", "ok", key)
        with run.grant(scopes=["* ceiling=READ_ONLY"]):
            assert await sender.send("GET", "ok", key) == 200
            with pytest.raises(countermand.OutOfScope):
                await sender.send(kind.method, "ok", key)
        assert [one.action for one in (await run.report()).done] == [kind.action.format("get")]
    assert [seen.method for seen in target.of(key)] == ["GET"]
