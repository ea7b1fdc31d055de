"""Serve the gateway on loopback, with a sidecar of its own in this process, and say what it does."""

import argparse
import asyncio
from contextlib import suppress

import uvicorn

from countermand.testing import sidecar
from examples.openai_gateway.agent import fake_agent
from examples.openai_gateway.app import gateway
from examples.openai_gateway.ledger import Ledger
from examples.openai_gateway.model import FakeModel


async def watch(model: FakeModel, ledger: Ledger) -> None:
    """Say once a second what has been done, while that changes."""
    last = ""
    while True:
        now = f"{model.produced} words, {len(ledger.written)} rows, {len(ledger.refused)} refused"
        if now != last:
            print(now, flush=True)
        last = now
        await asyncio.sleep(1)


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    model, ledger = FakeModel(words=200), Ledger(rows=100, delay=12)
    with sidecar() as running:
        app = gateway(running.home, fake_agent(model, ledger))
        watching = asyncio.create_task(watch(model, ledger))
        await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port)).serve()
        watching.cancel()


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="openai_gateway", description=__doc__)
    options.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(options.parse_args().port))
