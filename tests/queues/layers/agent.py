"""An agent with all seven layers: request, task, thread, model, tool, sub-agent, writes; and a job for later.

Most of it stops when it is told to. Two listen to nobody: a thread that has rows staged and goes on to
COMMIT, and a task without an owner that mails and enqueues once more. They are what a permit is for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import openai
from sqlalchemy import create_engine

import countermand
import countermand.sync
from countermand.integrations.httpx import AsyncPermitTransport
from tests.queues.layers import job, rows
from tests.queues.layers.play import Play
from tests.queues.support.bench import PATIENCE, Bench

MAIL = "email.send"
SCOPES = ("queue.enqueue *", f"{job.ACTION} *", *job.SCOPES, f"{MAIL} *")
TOKENS = 1_000_000


class Agent:
    """Plays what the prompt names. It has clients of its own while the application is served."""

    def __init__(self, provider: str, mails: str, database: str, bench: Bench) -> None:
        self._provider, self._mails, self._bench = provider, mails, bench
        self.engine = create_engine(database)
        self._sessions = rows.sessions(self.engine)
        self.plays: dict[str, Play] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect to everything, on the loop of the server."""
        self.loop = asyncio.get_running_loop()
        async with (
            openai.AsyncOpenAI(api_key="x", base_url=f"{self._provider}/v1", max_retries=0) as self._openai,
            httpx.AsyncClient(transport=AsyncPermitTransport(), timeout=PATIENCE) as self._http,
            httpx.AsyncClient(timeout=PATIENCE) as self._plain_http,
        ):
            await self._bench.open()
            try:
                yield
            finally:
                await self._bench.shut()
                self.engine.dispose()

    async def answer(self, run: countermand.ActiveRun, prompt: str) -> AsyncGenerator[str, None]:
        """Work on all layers while the model talks."""
        play = self.plays[prompt]
        play.run_id = run.run_id
        hear_no_more = run.on_stop(lambda _: self._fence(run.run_id))
        try:
            with run.grant(scopes=SCOPES, budgets={"tokens_out": TOKENS}):
                async with countermand.scope("agent") as scope:
                    scope.spawn(self._look_up, play)
                    scope.run_in_thread(self._keep_books, play)
                    scope.run_in_thread(self._write, play, kind="tool")
                    scope.spawn(self._mail, play, kind="tool")
                    scope.spawn(self._sub_agent, play, run, kind="agent")
                    runaway = asyncio.create_task(self._run_away(play))
                    play.jobs.append(await self._enqueue(play.name("job")))
                    async for word in self._model(play):
                        yield word
                    await runaway
                    for one in play.jobs:
                        await self._bench.result(one)
            hear_no_more()
        finally:
            play.over.set()

    async def _model(self, play: Play) -> AsyncGenerator[str, None]:
        """Stream: it costs money for as long as it talks."""
        async with countermand.token_budget().request(TOKENS) as request:
            asked = {"max_tokens": request.max_tokens, **_question(play)}
            stream = await self._openai.chat.completions.create(stream=True, **asked)
            with play.working("stream"):
                async with countermand.guard(stream, tokens=request) as guarded:
                    async for chunk in guarded:
                        yield chunk.choices[0].delta.content or ""

    def _think(self, _: countermand.CancellationToken, play: Play) -> None:
        """Stream, in code that blocks: whoever reads there hears of nothing, so only the guard ends it."""
        with (
            play.working("blocking stream"),
            openai.OpenAI(api_key="x", base_url=f"{self._provider}/v1", max_retries=0) as client,
            countermand.sync.guard(client.chat.completions.create(stream=True, **_question(play))) as guarded,
        ):
            for _ in guarded:
                pass

    async def _look_up(self, play: Play) -> None:
        """Task: ask again and again. Reads need no permit, so only the scope stops them."""
        with play.working("task"):
            while not play.mailed.is_set():
                play.looks += 1
                await self._http.get(f"{self._mails}/ok/{play.name('look')}")
                await asyncio.sleep(0.02)

    def _keep_books(self, token: countermand.CancellationToken, play: Play) -> None:
        """Thread: stage a row, and commit it when all mails are sent; it listens to its token."""
        with play.working("thread"), play.telling("thread"), self._sessions.begin() as session:
            rows.stage(session, play.name("books"))
            while not play.mailed.is_set():
                token.wait(0.02)
                token.check()

    def _write(self, _: countermand.CancellationToken, play: Play) -> None:
        """Write: stage a row, and go on to COMMIT whatever it is told."""
        with play.working("writer"), play.telling("writer"), self._sessions.begin() as session:
            rows.stage(session, play.name("row"))
            play.released.wait(PATIENCE)

    async def _mail(self, play: Play) -> None:
        """Tool: send three mails, one after the other."""
        with play.working("tool"):
            for what, name in (("ok", "mail-1"), (play.second, "mail-2"), ("ok", "mail-3")):
                await self._post(what, play.name(name))
            play.mailed.set()

    async def _sub_agent(self, play: Play, run: countermand.ActiveRun) -> None:
        """Sub-task: a run below, which has sent one mail, and prepares another."""
        with play.working("sub-agent"):
            async with run.child(agent="sub-agent") as child:
                play.child_id = child.run_id
                with child.grant(scopes=SCOPES):
                    await self._post("ok", play.name("sub-1"))
                    countermand.current_scope().run_in_thread(self._think, play, kind="llm")
                    async with countermand.action(MAIL, resource=f"mailto:{play.name('sub-2')}") as act:
                        await _until(play.mailed)
                        async with act.commit():
                            await self._plain_http.post(f"{self._mails}/ok/{play.name('sub-2')}")

    async def _run_away(self, play: Play) -> None:
        """Belong to nobody, and mail and enqueue once more in the end."""
        try:
            await _until(play.released)
            with suppress(countermand.StopTheRun), play.telling("mailer"):
                await self._post("ok", play.name("mail-4"))
            with suppress(countermand.StopTheRun), play.telling("enqueuer"):
                play.jobs.append(await self._enqueue(play.name("job-2")))
        finally:
            play.ran_away.set()

    async def _post(self, what: str, key: str) -> None:
        (await self._http.post(f"{self._mails}/{what}/{key}", content=b"hello")).raise_for_status()

    async def _enqueue(self, key: str) -> Any:
        return await self._bench.put("late", key)

    def _fence(self, run_id: str) -> None:
        """Have the database know of the stop, too, off the loop."""
        self.loop.run_in_executor(None, self._write_fence, run_id)

    def _write_fence(self, run_id: str) -> None:
        with self.engine.begin() as connection:
            rows.FENCES.stop(connection, run_id)


def _question(play: Play) -> Any:
    return {"model": play.model, "messages": [{"role": "user", "content": play.key}]}


async def _until(event: Any) -> None:
    while not event.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.01)
