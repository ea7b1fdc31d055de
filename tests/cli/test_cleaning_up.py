"""A walkthrough by the command line alone: from a cancel to "undone, or named as what cannot be".

The outside world is a service on a real socket; what it says happened is held against the report.
"""

import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock
from tests.cli.support import Shell
from tests.cli.world import FAILS, SILENT, World

#: What the integrator of the mail and job tools writes.
FUNCTIONS = """
import http.client
import json
import urllib.error
import urllib.request

import countermand

registry = countermand.Registry()
WORLD = "{url}"


def call(method, path, key):
    headers = {{"Idempotency-Key": key}}
    request = urllib.request.Request(WORLD + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {{}}
    except (OSError, http.client.HTTPException) as error:
        raise countermand.NotDone("the service did not answer") from error


@registry.compensation("mail.unsend")
def unsend(duty):
    if duty.args["id"] == "m-read":
        raise countermand.GiveUp("it has been read")
    status, _ = call("DELETE", "/mail/" + duty.args["id"], duty.key)
    if status not in (200, 404):  # 404: it is gone already
        raise countermand.NotDone(f"the service answered {{status}}")
    return "gone-" + duty.args["id"]


@registry.canceller("job.cancel")
def cancel(duty):
    status, _ = call("DELETE", "/jobs/" + duty.handle, duty.key)
    if status == 409:
        return countermand.Refused("it is running")
    if status != 200:
        raise countermand.NotDone(f"the service answered {{status}}")


@registry.probe("mail.status")
def status(duty):
    status, _ = call("GET", "/mail/" + duty.resource.rpartition(":")[2], duty.key)
    if status == 200:
        return countermand.Finding("SUCCEEDED", "the service lists it")
    if status == 404:  # this service takes a mail in before it answers: what is not listed will never be
        return countermand.Finding("FAILED", "the service does not know it")
"""


@pytest.fixture
def world() -> Iterator[World]:
    """The outside world."""
    world = World()
    yield world
    world.stop()


@pytest.fixture
def functions(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The module of the compensator, found from the current directory."""
    (tmp_path / "tool_undo.py").write_text(FUNCTIONS.format(url=world.url))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "tool_undo:registry"
    sys.modules.pop("tool_undo", None)


class Tools:
    """A mail and a job tool, written in a shell: perform, call the world, settle."""

    def __init__(self, shell: Shell, world: World) -> None:
        self._shell, self._world = shell, world

    def mail(self, thing: str, *more: str) -> None:
        """Send a mail. Its compensation is told what the result has; its probe finds it by its resource."""
        declared = ("--reversibility", "compensable", "--compensation", "mail.unsend")
        self._perform("mail.send", thing, f"mail:{thing}", *declared, "--probe", "mail.status", *more)
        self._settle(thing, *self._post("/mail", thing))

    def pay(self, thing: str) -> None:
        """Do what nothing can undo."""
        self._perform("payment.send", thing, f"iban:{thing}", "--reversibility", "irreversible")
        self._settle(thing, *self._post("/mail", thing))

    def job(self, thing: str) -> None:
        """Start a job: the world only accepts it."""
        declared = ("--reversibility", "compensable", "--compensation", "mail.unsend")
        self._perform("job.start", thing, f"job:{thing}", *declared)
        status, told = self._post("/jobs", thing)
        assert status == 202
        self._settle(thing, status, told, "--handle", told["id"], "--canceller", "job.cancel")

    def silent(self, thing: str) -> None:
        """Call the world without an answer, and die before anything is said of it. Nobody can ask, either."""
        self._perform("mail.send", thing, f"mail:{thing}", "--reversibility", "compensable")
        self._post("/mail", thing)

    def _perform(self, action: str, thing: str, resource: str, *more: str) -> None:
        done = self._shell(
            "perform", action, "--op", f"o-{thing}", "--grant", "g-1", "--resource", resource, *more
        )
        assert done.code == ExitCode.OK, done

    def _post(self, path: str, thing: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310 - a service of this test
            self._world.url + path,
            data=json.dumps({"id": thing}).encode(),
            headers={"Idempotency-Key": thing},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (OSError, http.client.HTTPException):
            return 0, {}

    def _settle(self, thing: str, status: int, told: dict[str, Any], *more: str) -> None:
        if status in (200, 202):
            args = json.dumps({"id": told["id"]})
            said = ("--succeeded", "--receipt", told["id"], "--compensation-args", args, *more)
        else:  # a 500, or nothing: who knows?
            said = (
                "--unknown",
                "--note",
                f"answered {status}",
                "--compensation-args",
                f'{{"id": "{thing}"}}',
            )
        assert self._shell("settle", f"o-{thing}", "--grant", "g-1", *said).code == ExitCode.OK


def test_an_incident_is_cleaned_up(granted: Shell, world: World, functions: str, clock: ManualClock) -> None:
    """Everything is undone, called off or resolved, or the report names it as what cannot be."""
    shell, tools = granted, Tools(granted, world)

    # An agent is at work. The world answers, fails before anything happened, or does it and says nothing.
    world.plan("POST /mail", "", FAILS, SILENT)
    tools.mail("m-1")
    tools.mail("m-fails")
    tools.mail("m-silent")
    tools.pay("p-1")
    tools.job("j-queued")
    tools.job("j-running")
    world.start("j-running")
    tools.mail("m-read")
    tools.mail("m-2")
    world.plan("POST /mail", SILENT)
    tools.silent("m-orphan")
    before = world.there()
    assert before == {"m-1", "m-silent", "p-1", "j-queued", "j-running", "m-read", "m-2", "m-orphan"}

    # It has sent the wrong things. Nothing is undone while it is at work.
    assert shell("undo", "r-1", "--reason", "wrong list", "--yes").code == ExitCode.FIX_THE_CALL
    assert shell("cancel", "r-1", "--reason", "incident", "--note", "wrong list").code == ExitCode.OK
    assert world.there() == before

    # See what an undo would do. What nobody knows yet is undone once it is known to have happened.
    dry = shell("undo", "r-1", "--dry-run")
    assert dry.out.index("m-2") < dry.out.index("m-read") < dry.out.index("m-1")
    assert "once it is known that it happened" in dry.out
    assert "it is irreversible" in dry.out
    asked = shell("undo", "r-1", "--reason", "wrong list", "--yes", "--wait", "100ms")
    assert asked.code == ExitCode.UNDO_PENDING

    # A compensator comes. The world answers it no better than it did the agent.
    world.plan("DELETE /mail/m-2", FAILS, SILENT)
    clock.advance("6s")  # the permits are over, so the outcomes can be asked for
    first = shell("compensate", functions, "--once", "--name", "night")
    assert first.code in (ExitCode.NOT_UNDONE, ExitCode.UNDO_PENDING)
    for _ in range(6):
        clock.advance("10s")
        shell("compensate", functions, "--once", "--name", "night")

    # What is left is named: one that was given up, and one whose outcome nobody knows.
    status = shell("undo", "r-1", "--status", "--output", "json").document
    states = {one["op_id"]: one["state"] for one in status["steps"]}
    assert states.pop("o-m-read") == "UNDO_FAILED"
    assert states.pop("o-m-fails") == "FAILED"
    assert set(states.values()) == {"UNDONE"}, states
    report = shell.json("report", "r-1")
    assert [one["op_id"] for one in report["unknown"]] == ["o-m-orphan"]

    # A person looks at the world, and says what became of it, and how they know.
    assert "m-orphan" in world.there()
    resolved = shell(
        "resolve", "r-1", "o-m-orphan", "--succeeded", "--evidence", "it is in the service's outbox"
    )
    assert resolved.code == ExitCode.OK

    # The report is what the world says.
    report = shell.json("report", "r-1")
    assert report["unknown"] == report["in_flight"] == []
    told = {one["op_id"].removeprefix("o-"): one for one in report["done"]}
    undone = {thing for thing, one in told.items() if one["state"] == "UNDONE"}
    not_done = {one["op_id"].removeprefix("o-") for one in report["not_done"]}
    assert undone == {"m-1", "m-silent", "m-2", "j-queued", "j-running"}
    assert world.there() == told.keys() - undone == {"m-read", "p-1", "m-orphan"}
    assert not_done == {"m-fails"}
    assert {thing for what, thing in world.log if what.startswith("POST")} == told.keys()
    for thing in told.keys() - undone:
        one = told[thing]
        assert one["undo"]["why_not"] or one["state"] == "UNDO_FAILED", thing

    # And it tells who did and said what. The world did everything once, however often it was asked.
    assert told["m-2"]["undo"]["attempts"] == 3
    assert world.calls["r-1/o-m-2/UNDO"] == 3
    deleted = [thing for what, thing in world.log if what.startswith("DELETE")]
    assert sorted(deleted) == sorted(undone)
    assert told["m-silent"]["resolved_by"] == "compensator:night"
    assert told["m-silent"]["evidence"] == "the service lists it"
    assert told["m-orphan"]["resolved_by"] == "operator:ada"
    assert told["j-queued"]["call_off"]["state"] == "ACKNOWLEDGED"
    assert told["j-running"]["call_off"]["state"] == "REFUSED"
    page = shell("report", "r-1").out
    for said in (
        "NOT UNDONE, given up after 1 attempt: it has been read",
        "no: it is irreversible",
        "j-queued was called off",
        "j-running will NOT be called off: it is running",
        "ada (operator): “it is in the service's outbox”",
        "UNDONE at",
        "by night (compensator), receipt gone-m-2",
    ):
        assert said in page, said
