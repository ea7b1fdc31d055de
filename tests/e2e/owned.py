"""An agent with all kinds of work at once, owned by one scope.

    python -m tests.e2e.owned HOME PROVIDER LOG RUN

Each layer writes a line to LOG while it is at work: `<layer> <nanoseconds since 1970>`. Told to stop, it
prints what it was told and what came of it, as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import countermand
import countermand.sync

#: Seconds between two lines of a layer, and for which the tool that does not listen goes on after the stop.
TICK, DEAF = 0.005, 0.6

LAYERS = ("task", "thread", "cpu", "chatty", "child")


def note(log: str, layer: str) -> None:
    """Write that a layer is at work. Lines of several processes do not mix: each is one write."""
    with Path(log).open("a", buffering=1) as file:
        file.write(f"{layer} {time.time_ns()}\n")


async def tick(log: str, layer: str) -> None:
    """Work on an event loop."""
    while True:
        note(log, layer)
        await asyncio.sleep(TICK)


def tick_in_thread(token: countermand.CancellationToken, log: str) -> None:
    """Work in a thread that looks at its token."""
    while not token.wait(TICK):
        note(log, "thread")


def burn(log: str) -> None:
    """Compute, and look at nothing."""
    number = 0
    while True:
        number = (number * 31 + 7) % 1_000_003
        if number % 997 == 0:
            note(log, "cpu")


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What a provider sends."""
    while chunk := await reader.readline():
        yield chunk


async def stream(provider: str, log: str, kind: str) -> None:
    """Read a model's stream, which speaks all the time or falls silent."""
    reader, writer = await asyncio.open_unix_connection(provider)
    writer.write(f"{kind}\n".encode())
    async for _ in countermand.guard(chunks(reader), close=writer.close):
        note(log, kind)


async def sub_agent(grant: countermand.CurrentGrant, log: str) -> None:
    """Work in a run of its own, below the agent's."""
    with grant.delegate_run(agent="helper", scopes=["db.*"]) as own:
        await own.token()
        async with countermand.scope("helper", source=own) as scope:
            scope.spawn(tick, log, "child", name="help")


def write_late(token: countermand.CancellationToken, grant: countermand.CurrentGrant, log: str) -> None:
    """Prepare a write, and try to commit it when the stop is long past: a tool that does not listen."""
    with grant, countermand.sync.action("db.write", resource="row:1") as act:
        note(log, "prepared")
        while not token.is_cancelled:
            time.sleep(TICK)
        time.sleep(DEAF)
        try:
            with act.commit():
                note(log, "WRITTEN")
        except countermand.Revoked:
            note(log, "refused")
            raise


async def main(home: str, provider: str, log: str, run_id: str) -> None:
    """Be at work on everything until told to stop; tell what came of it."""
    cleaned: list[str] = []
    async with countermand.connect(home) as cm:
        run = cm.open_run(agent="agent", run_id=run_id)
        try:
            async with run:
                with run.grant(scopes=["db.*"]) as grant:
                    await grant.token()
                    async with countermand.scope("agent", source=run, grace="200ms") as scope:
                        for name in ("first", "second", "third"):
                            scope.defer(cleaned.append, name)
                        scope.spawn(tick, log, "task", name="task")
                        scope.run_in_thread(tick_in_thread, log, name="thread", kind="tool")
                        scope.offload(burn, log, name="cpu")
                        scope.spawn(stream, provider, log, "chatty", name="chatty", kind="llm")
                        scope.spawn(stream, provider, log, "silent", name="silent", kind="llm")
                        scope.spawn(sub_agent, grant, log, name="child")
                        scope.run_in_thread(write_late, grant, log, name="late", kind="tool")
        except countermand.Stopped as stopped:
            stop, receipt = stopped.stop, scope.receipt
    assert receipt is not None
    told = {
        "reason": stop.reason,
        "note": stop.note,
        "actor": stop.actor,
        "seq": stop.seq,
        "cleaned": cleaned,
    }
    told |= {"not_stopped": [work.name for work in receipt.not_stopped]}
    told |= {"stopped": [work.name for work in receipt.stopped]}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
