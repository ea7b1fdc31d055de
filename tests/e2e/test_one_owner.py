"""One owner: a run with work of every kind is cancelled from another process, and every layer of it stops."""

from collections.abc import Iterator

import pytest

from tests.e2e.owned import LAYERS
from tests.e2e.owning import Told, cancelled
from tests.support.redis_server import RedisServer
from tests.support.sidecar import sidecar_running

#: Milliseconds in which each layer must have stopped on any machine; figures are in docs/performance.md.
SOON = 1500


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One cancel, looked at by every test of this module, on each store."""
    server = None
    if request.param == "redis":
        server = RedisServer(tmp_path_factory.mktemp("redis"))
        server.start()
    try:
        with sidecar_running(store=server.url if server else "sqlite") as sidecar:
            yield cancelled(sidecar)
    finally:
        if server:
            server.close()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_stops(told: Told, layer: str) -> None:
    """Task, thread, process, stream and sub-agent: soon after the cut, the last line was written."""
    assert told.stopped_after(told.lines[layer][-1]) < SOON


@pytest.mark.parametrize("kind", ["chatty", "silent"])
def test_a_provider_sees_its_caller_go(told: Told, kind: str) -> None:
    """The connection is closed, whether the model spoke or was silent; it sends nothing more."""
    spoken = told.provider.spoken[kind]
    assert 0 < told.stopped_after(spoken.gone) < SOON
    assert spoken.sent[-1] <= spoken.gone


def test_nothing_is_written_after_the_cut(told: Told) -> None:
    """A tool that does not listen finds the door closed."""
    assert told.lines["refused"]
    assert "WRITTEN" not in told.lines
    assert told.stopped_after(told.lines["refused"][0]) > 0


def test_receipt_and_report_agree(told: Told) -> None:
    """The same reason, by the same person, at the same entry; what would not stop is named."""
    end = told.report["run"]["end"]
    assert (told.agent["reason"], told.agent["note"]) == ("USER_STOP", "enough")
    assert (end["reason"], end["note"]) == ("USER_STOP", "enough")
    assert (told.agent["actor"], told.agent["seq"]) == (end["actor"], end["seq"])
    assert told.agent["not_stopped"] == ["late"]
    assert {"task", "cpu", "chatty", "silent"} <= set(told.agent["stopped"])
    assert [one["action"] for one in told.report["interrupted"]] == ["db.write"]
    assert [one["reason"] for one in told.report["late_attempts"]] == ["REVOKED"]
    assert not told.report["done"]


def test_clean_ups_come_last_in_first_out(told: Told) -> None:
    """When all work has ended."""
    assert told.agent["cleaned"] == ["third", "second", "first"]


def test_the_sub_agents_run_is_over_too(told: Told) -> None:
    """It is below the one that was cancelled."""
    assert len(told.report["descendant_run_ids"]) == 1
