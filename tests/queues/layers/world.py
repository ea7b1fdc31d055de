"""The gateway and all around it, real: database, broker, worker, mail server, provider, sidecars."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette

import countermand
import countermand.sync
from countermand.testing import short_folder
from countermand.testing.conformance.service import VARIABLE, ProcessService, remove
from examples.openai_gateway.app import gateway
from tests.integrations.http.target import Target
from tests.integrations.http.target import serving as serving_mails
from tests.integrations.provider import Exchange, Provider, provider
from tests.integrations.web.servers import Served, serving
from tests.queues.layers import rows
from tests.queues.layers.agent import Agent
from tests.queues.layers.play import Play
from tests.queues.support.bench import PATIENCE, Bench
from tests.support.postgres_server import postgres_running
from tests.support.redis_server import redis_running

T = TypeVar("T")


class World:
    """What the tests do in it, and look at from outside."""

    def __init__(
        self, home: Path, bench: Bench, agent: Agent, served: Served, mails: Target, fake: Provider
    ) -> None:
        self.home, self.bench, self.agent = home, bench, agent
        self.served, self.mails, self.fake = served, mails, fake

    def ask(self, play: Play) -> Any:
        """Send the request of a play; answers the connection."""
        self.agent.plays[play.key] = play
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": play.key}]}
        line = self.served.post("/v1/chat/completions", asked)
        line.settimeout(PATIENCE)
        return line

    def go_on(self, play: Play) -> None:
        """Let those go on who listen to nobody, and the mail server answer."""
        self.mails.release(play.name("mail-2"))
        play.released.set()

    def report(self, run_id: str) -> countermand.Report:
        """The report of a run, by the sidecar of the gateway."""
        with countermand.sync.connect(self.home) as cm:
            return cm.auditor.report(run_id)

    def why(self, run_id: str) -> str:
        """Why a run has ended; empty while it has not."""
        end = self.report(run_id).run.end
        return str(end.reason) if end else ""

    def landed(self, play: Play) -> dict[str, Any]:
        """All that a play has done to the world so far, and how often."""
        ours = [one for one in self.mails.seen if one.key.startswith(f"{play.key}-") and one.method == "POST"]
        return {
            "mails": Counter(one.key.removeprefix(f"{play.key}-") for one in ours),
            "rows": Counter(
                key.removeprefix(f"{play.key}-")
                for key in rows.landed(self.agent.engine)
                if key.startswith(f"{play.key}-")
            ),
            "tokens": [len(one.sent) for one in self.streams(play)],
            "looks": play.looks,
            "jobs": len(play.jobs),
        }

    def streams(self, play: Play) -> list[Exchange]:
        """What the provider was asked in a play: by the agent, and by the one below."""
        return [one for one in self.fake.exchanges if one.asked["messages"][0]["content"] == play.key]

    def on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop of the gateway, to which the client of the queue belongs."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.agent.loop).result(PATIENCE + 10)


@contextmanager
def world_of(kind: type[Bench], *, sidecars: int, folder: Path) -> Iterator[World]:
    """Start everything. With two sidecars the gateway has one, the worker another, and they share a Redis."""
    with ExitStack() as open_yet:
        here, there = _sidecars(open_yet, sidecars, folder)
        database = open_yet.enter_context(postgres_running()).url()
        mails = open_yet.enter_context(serving_mails())
        fake = open_yet.enter_context(provider())
        fake.talks = 1_000_000
        os.environ.update(QUEUE_DATABASE=database, QUEUE_MAILS=mails.url)
        bench = kind(there)
        open_yet.callback(bench.close)
        bench.start()
        agent = Agent(fake.url, mails.url, database, bench)
        rows.Base.metadata.create_all(agent.engine)
        served = open_yet.enter_context(serving(_application(here, agent), "uvicorn-h11"))
        yield World(here, bench, agent, served, mails, fake)


def _sidecars(open_yet: ExitStack, many: int, folder: Path) -> tuple[Path, Path]:
    """Start one or two, with the same keys; answer the homes of the gateway's and of the worker's."""
    store = open_yet.enter_context(redis_running(folder)).url if many > 1 else "sqlite"
    homes: list[Path] = []
    for _ in range(many):
        service = ProcessService(os.environ[VARIABLE], short_folder(), "--store", store)
        open_yet.callback(remove, service)
        if homes:
            shutil.copytree(homes[0] / "keys", service.home / "keys")
        service.start()
        homes.append(service.home)
    return homes[0], homes[-1]


def _application(home: Path, agent: Agent) -> Starlette:
    """The gateway of the example, with this agent behind it."""
    app = gateway(home, agent.answer)
    own = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Starlette) -> AsyncIterator[Any]:
        async with agent.opened(), own(served) as state:
            yield state

    app.router.lifespan_context = lifespan
    return app
