"""The example gateway: who hangs up stops model, tool and late write; who waits gets all of it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest

import countermand
from countermand.testing import sidecar
from examples.openai_gateway.agent import fake_agent
from examples.openai_gateway.app import gateway
from examples.openai_gateway.ledger import Ledger
from examples.openai_gateway.model import FakeModel
from tests.integrations.web.servers import SERVERS, Served, answer, hang_up, request, serving
from tests.integrations.web.unbound import without_boundary

CHAT = {"model": "fake", "messages": [{"role": "user", "content": "pay"}]}
ASK = {"model": "fake", "input": "pay"}
DOORS = {
    "chat": ("/v1/chat/completions", CHAT),
    "chat-streaming": ("/v1/chat/completions", CHAT | {"stream": True}),
    "responses": ("/v1/responses", ASK),
    "responses-streaming": ("/v1/responses", ASK | {"stream": True}),
}
WORDS, ROWS = 60, 20


@dataclass
class Gateway:
    """The gateway as it is served, and what it does to the world."""

    served: Served
    model: FakeModel
    ledger: Ledger
    home: Any

    @property
    def done(self) -> tuple[int, int]:
        """The words and rows so far."""
        return self.model.produced, len(self.ledger.written)

    def begin(self, door: str) -> Any:
        """Ask at one of its doors, and wait until model and tool are in the middle of it."""
        line = self.served.post(*DOORS[door])
        until(lambda: self.model.produced >= 5 and len(self.ledger.written) >= 2)
        return line

    def runs(self) -> list[countermand.Run]:
        """All its runs."""

        async def ask() -> list[countermand.Run]:
            async with countermand.connect(self.home) as cm:
                return list((await cm.auditor.runs()).runs)

        return asyncio.run(ask())

    def report(self) -> countermand.Report:
        """The report of its only run."""

        async def ask(run_id: str) -> countermand.Report:
            async with countermand.connect(self.home) as cm:
                return await cm.auditor.report(run_id)

        (run,) = self.runs()
        return asyncio.run(ask(run.run_id))

    @property
    def why(self) -> str:
        """Why its only run ended; empty while it has not."""
        end = self.report().run.end
        return str(end.reason) if end else ""


def until(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """The gateway on each server, with a sidecar of its own."""
    model, ledger = FakeModel(WORDS, 0.02), Ledger(ROWS, 0.04, delay=0.9)
    with sidecar() as real, serving(gateway(real.home, fake_agent(model, ledger)), request.param) as running:
        yield Gateway(running, model, ledger, real.home)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("door", DOORS)
def test_who_hangs_up_stops_all_of_it(served: Gateway, door: str) -> None:
    """No word and no row comes after; the write that comes late is refused, and the report says why."""
    line = served.begin(door)
    hang_up(line)
    until(lambda: served.why == "CLIENT_DISCONNECTED", 2.0)
    before = served.done
    until(lambda: served.ledger.refused)
    assert served.done == before
    assert before[0] < WORDS
    assert before[1] < ROWS
    assert {"row": "closing"} not in served.ledger.written
    report = served.report()
    assert "commit" in {late.verb for late in report.late_attempts}
    assert isinstance(served.ledger.refused[0], countermand.Revoked)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("headers", [(), ("connection: close",)], ids=["client-closes", "server-closes"])
def test_who_waits_gets_all_of_it(served: Gateway, door: str, headers: tuple[str, ...]) -> None:
    """The run finishes; that the connection is closed right after the answer cancels nothing."""
    line = served.served.post(*DOORS[door], *headers)
    status, body = answer(line)
    line.close()
    assert (status, served.done) == (200, (WORDS, ROWS + 1))
    assert b"pay-59" in body
    time.sleep(0.2)
    report = served.report()
    assert (str(report.run.state), report.late_attempts) == ("FINISHED", ())
    assert not served.ledger.refused


@pytest.mark.usefixtures("quiet")
def test_a_connection_that_is_kept_carries_the_next_request(served: Gateway) -> None:
    """Two requests on one connection are two runs, and each finishes."""
    with served.served.connect() as line:
        for path, content in (DOORS["chat"], DOORS["responses-streaming"]):
            line.sendall(request(path, json.dumps(content).encode()))
            assert answer(line)[0] == 200
    assert [str(run.state) for run in served.runs()] == ["FINISHED", "FINISHED"]


@pytest.mark.usefixtures("quiet")
def test_who_leaves_on_a_kept_connection_stops_the_second_request_only(served: Gateway) -> None:
    """The first one was answered."""
    line = served.served.post(*DOORS["chat"])
    assert answer(line)[0] == 200
    words = served.model.produced
    line.sendall(request(DOORS["chat"][0], json.dumps(CHAT).encode()))
    until(lambda: served.model.produced > words + 3)
    hang_up(line)
    until(lambda: {str(run.state) for run in served.runs()} == {"FINISHED", "CANCELLED"})


@pytest.mark.usefixtures("quiet")
async def test_openais_own_client_understands_it(served: Gateway) -> None:
    """All four answers, read by the real SDK."""
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{served.served.port}/v1", api_key="none", max_retries=0
    ) as client:
        whole = await client.chat.completions.create(**CHAT)
        assert "pay-59" in (whole.choices[0].message.content or "")
        said = [
            chunk.choices[0].delta.content or ""
            async for chunk in await client.chat.completions.create(**CHAT, stream=True)
        ]
        assert "pay-59" in "".join(said)
        assert "pay-59" in (await client.responses.create(**ASK)).output_text
        kinds = [one.type async for one in await client.responses.create(**ASK, stream=True)]
        assert kinds == ["response.created", *["response.output_text.delta"] * WORDS, "response.completed"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("header", ["request-timeout: 0.3", "grpc-timeout: 300m"])
def test_the_clients_deadline_is_the_runs(served: Gateway, header: str) -> None:
    """It is told with 504 that its time is over, and nothing goes on."""
    line = served.served.post(*DOORS["chat"], header)
    status, body = answer(line)
    hang_up(line)
    assert status == 504
    assert json.loads(body)["error"]["type"] in ("Stopped", "RunDeadline")  # two clocks, whichever is first
    before = served.done
    until(lambda: served.ledger.refused)
    assert served.done == before
    assert served.why == "DEADLINE"


@pytest.mark.usefixtures("quiet")
def test_a_deadline_that_is_none_is_refused(served: Gateway) -> None:
    """Nothing begins."""
    line = served.served.post(*DOORS["chat"], "request-timeout: soon")
    status, body = answer(line)
    hang_up(line)
    assert (status, served.done, served.runs()) == (400, (0, 0), [])
    assert "request-timeout must be a number of seconds such as 2.5, not 'soon'" in str(json.loads(body))


@pytest.mark.parametrize("door", DOORS)
def test_control_without_it_the_gateway_goes_on(
    served: Gateway, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a plain run everything is written for nobody: the tests above can fail."""
    without_boundary(monkeypatch)
    line = served.begin(door)
    hang_up(line)
    until(lambda: {"row": "closing"} in served.ledger.written)
    until(lambda: str(served.report().run.state) == "FINISHED")
    assert served.done == (WORDS, ROWS + 1)
