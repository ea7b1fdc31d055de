"""One reason, end to end: what stops a run is said alike wherever somebody may look for it."""

import asyncio
import json
import logging
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import countermand
from countermand.integrations import prometheus
from tests.attacks.test_metrics_flood import free_port
from tests.support.sidecar import SidecarProcess, sidecar_running

#: What is said, and what of it may be found where only numbers are.
SAID: dict[str, Any] = {"actor": "ann", "note": "the wrong list", "tag": "ticket-77"}


def read(port: int) -> dict[tuple[str, ...], float]:
    """The sidecar's metrics, and nothing of what was said in them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert not [one for one in (*SAID.values(), "r-one") if one in text]
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


def numbers(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """The client's metrics."""
    samples = [one for family in registry.collect() for one in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in samples}


def logged(handle: SidecarProcess, event: str) -> dict[str, Any]:
    """The one line of the sidecar's log about something."""
    lines = [json.loads(line) for line in handle.err.splitlines()]
    (line,) = (one for one in lines if one["event"] == event)
    return dict(line)


async def owned(run: countermand.ActiveRun, scopes: "asyncio.Queue[countermand.WorkScope]") -> None:
    """Work for a run, in a scope, until that is stopped."""
    async with countermand.scope("agent", source=run) as scope:
        scope.spawn(asyncio.sleep, 600, kind="llm")
        scopes.put_nowait(scope)
        await asyncio.sleep(600)


async def test_everybody_is_told_the_same_reason(caplog: pytest.LogCaptureFixture) -> None:
    """One cancel: a late commit, the scope, its receipt, both logs, both metrics and the report agree."""
    caplog.set_level(logging.INFO, "countermand")
    port, registry, events = free_port(), CollectorRegistry(), list[Any]()
    with sidecar_running(store="memory", metrics_listen=f"127.0.0.1:{port}") as handle, ExitStack() as stack:
        for end in (prometheus.count(registry), countermand.on_event(events.append)):
            stack.callback(end)
        async with countermand.connect(handle.home) as cm, countermand.connect(handle.home) as other:
            scopes: asyncio.Queue[countermand.WorkScope] = asyncio.Queue()
            try:
                async with cm.open_run(run_id="r-one") as run:
                    grant = run.grant(scopes=["email.*"])
                    with grant:
                        act = await countermand.action("email.send").__aenter__()
                    work = asyncio.create_task(owned(run, scopes))
                    scope = await asyncio.wait_for(scopes.get(), 20)
                    cancelled = await other.operator.cancel("r-one", reason="INCIDENT", **SAID)
                    with pytest.raises(countermand.Stopped) as stopped:
                        await asyncio.wait_for(work, 20)
                    with pytest.raises(countermand.Revoked) as late:
                        async with act.commit():
                            raise AssertionError("it was permitted")
            except countermand.Revoked:
                pass  # the run's own block says so, too
        line, told = logged(handle, "cancelled"), await asyncio.to_thread(read, port)
        client = numbers(registry)

    stop, report = stopped.value.stop, cancelled.report
    # In this process it is one object.
    receipt = scope.receipt
    (event,) = (one for one in events if isinstance(one, countermand.ScopeStopped))
    (record,) = (one for one in caplog.records if hasattr(one, "receipt"))
    assert all(one is stop for one in (receipt.stop, event.stop, record.stop, scope.token.stop))
    # What was said to others of it is equal, to the number of the entry.
    assert late.value.stop == stop == countermand.Stop.of_end(report.run.end)
    assert (stop.reason, stop.note, stop.tag) == ("INCIDENT", SAID["note"], SAID["tag"])
    assert (stop.actor, stop.run_id, stop.seq) == ("operator:ann", "r-one", report.cut_seq)
    same = {"reason": "INCIDENT", "actor": stop.actor, "note": stop.note, "tag": stop.tag}
    assert {name: line[name] for name in same} == same
    assert (line["run"], line["seq"]) == ("r-one", stop.seq)
    # Where there are numbers only, it is the label.
    assert told["countermand_stops_total", "INCIDENT"] == 1
    assert told["countermand_decisions_total", "REVOKED", "commit"] == 1
    assert told["countermand_late_attempts_total", "commit"] == 1
    assert told["countermand_stops_told_total", "REVOKED"] >= 1
    assert client["countermand_scope_stops_total", "INCIDENT", "RUN_ENDED"] == 1
    assert client["countermand_commits_refused_total", "REVOKED"] == 1
    (refused,) = (one for one in events if isinstance(one, countermand.CommitRefused))
    assert refused.error is late.value
