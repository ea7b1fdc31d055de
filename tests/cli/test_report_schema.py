"""What is printed of a report is exactly what its published schema says, for reports of every kind."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.sync import Client
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell
from tests.support.report_schema import faults

Story = Callable[[Shell, ManualClock, Sidecar], dict[str, Any]]

PAY = ("--scope", "pay.* approval=irreversible")


def active(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """A run at work, with a budget, something done, in flight, undecided and not done."""
    shell("open", "--run", "r-2", "--label", "team=a", "--budget", "usd=5:refuse", "--tenant", "acme")
    shell("issue", "r-2", "--grant", "g-2", "--scope", "*")
    shell("perform", "a.b", "--op", "o-1", "--grant", "g-2", "--cost", "usd=2", "--resource", "x:1")
    shell("settle", "o-1", "--grant", "g-2", "--succeeded", "--receipt", "m-1", "--note", "sent")
    shell("perform", "a.c", "--op", "o-2", "--grant", "g-2", "--reversibility", "read_only")
    shell("prepare", "a.d", "--op", "o-3", "--grant", "g-2")
    shell("prepare", "a.e", "--op", "o-4", "--grant", "g-2")
    shell("abandon", "o-4", "--grant", "g-2")
    told = shell.json("report", "r-2")
    assert told["run"]["end"] is None
    assert [told["counts"][part] for part in ("done", "in_flight", "pending", "not_done")] == [1, 1, 1, 1]
    assert [told["counts"][one] for one in ("undoable", "not_undoable", "nothing_to_undo")] == [0, 1, 1]
    return told


def cancelled(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """The answer of the cancel itself, with a run below and something interrupted."""
    shell("open", "--run", "r-1.sub", "--parent", "r-1")
    shell("issue", "r-1.sub", "--grant", "g-sub", "--scope", "*")
    shell("prepare", "a.b", "--op", "o-1", "--grant", "g-sub")
    undo = ("--reversibility", "compensable", "--compensation", "a.undo")
    shell("perform", "a.c", "--op", "o-2", "--grant", "g-1", *undo)
    told = shell.json("cancel", "r-1", "--reason", "incident", "--note", "wrong list", "--tag", "t-1")
    assert told["cancel"] == {"replayed": False, "known": True}
    assert [told["counts"][part] for part in ("interrupted", "in_flight", "undoable")] == [1, 1, 1]
    assert told["quiesced"] is False
    return told


def finished(shell: Shell, clock: ManualClock, _: Sidecar) -> dict[str, Any]:
    """A run that did its work, with an outcome that nobody told."""
    shell("perform", "a.b", "--op", "o-1", "--grant", "g-1", "--use-within", "1s")
    shell("finish", "r-1")
    clock.advance("2s")
    told = shell.json("report", "r-1")
    assert told["run"]["state"] == "FINISHED"
    assert (told["counts"]["unknown"], told["quiesced"], told["complete"]) == (1, True, True)
    return told


def never_opened(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """A cancel of a run that nobody knows."""
    done = shell("cancel", "r-9", "--reason", "incident", "--output", "json")
    assert done.code == ExitCode.NEVER_OPENED
    assert done.document["cancel"]["known"] is False
    return done.document


def past_its_deadline(shell: Shell, clock: ManualClock, _: Sidecar) -> dict[str, Any]:
    """A run that ended by itself."""
    shell("open", "--run", "r-2", "--ttl", "5s")
    clock.advance("6s")
    told = shell.json("report", "r-2")
    assert (told["run"]["end"]["reason"], told["cut_seq"]) == ("DEADLINE", 0)
    return told


def fenced(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """A run with fences of both kinds over it, one of them lifted."""
    shell("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    shell("freeze", "--agent", "mailer", "--action", "a.*", "--reason", "incident", "--yes", "--id", "f-1")
    shell("commit", "o-1", "--grant", "g-1")
    shell("lift", "f-1", "--note", "mended")
    shell("freeze", "--run", "r-1", "--reason", "policy", "--for", "2h", "--yes")
    shell("revoke", "--label", "x=y", "--reason", "policy", "--yes")
    shell("revoke", "--all", "--reason", "policy", "--yes")
    told = shell.json("report", "r-1")
    assert [one["state"] for one in told["fences"]] == ["LIFTED", "STANDING", "STANDING"]
    assert (told["counts"]["interrupted"], told["counts"]["late_attempts"]) == (1, 1)
    return told


def asked(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """A run in which a person agreed, said no, and has not answered yet."""
    shell("issue", "r-1", "--grant", "g-2", *PAY)
    for op in ("o-1", "o-2", "o-3"):
        shell("prepare", "pay.out", "--op", op, "--grant", "g-2", "--summary", "900 EUR")
    digest = shell.json("approvals")["approvals"][0]["digest"]
    assert shell("approve", "r-1", "o-1", "--digest", digest).code == ExitCode.OK
    assert shell("deny", "r-1", "o-2", "--note", "one nought too many").code == ExitCode.OK
    told = shell.json("report", "r-1")
    assert sorted(one["state"] for one in told["pending"]) == ["AWAITING_APPROVAL", "PREPARED"]
    assert [one["state"] for one in told["not_done"]] == ["DENIED"]
    return told


def late(shell: Shell, _: ManualClock, __: Sidecar) -> dict[str, Any]:
    """A run whose tool kept asking after the stop: also for what it had a permit for."""
    shell("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    shell("perform", "a.c", "--op", "o-2", "--grant", "g-1")
    shell("cancel", "r-1", "--reason", "user_stop")
    shell("commit", "o-1", "--grant", "g-1")
    shell("commit", "o-2", "--grant", "g-1", "--again")
    shell("perform", "a.d", "--op", "o-3", "--grant", "g-1")
    shell("settle", "o-2", "--grant", "g-1", "--succeeded")
    told = shell.json("report", "r-1")
    assert [one["verb"] for one in told["late_attempts"]] == ["commit", "commit", "perform"]
    assert [one["prior_decision"] for one in told["late_attempts"]] == [None, "PERMITTED", None]
    return told


def with_gaps(shell: Shell, _: ManualClock, sidecar: Sidecar) -> dict[str, Any]:
    """A run of which not everything is kept: more refusals than are listed."""
    shell("cancel", "r-1", "--reason", "user_stop")
    with sidecar.connect_sync() as client:
        _ask_in_vain(client, shell, 1003)
    told = shell.json("report", "r-1")
    assert told["complete"] is False
    assert len(told["gaps"]) == 1
    assert (told["late_attempt_count"], len(told["late_attempts"])) == (1003, 1000)
    return told


def _ask_in_vain(client: Client, shell: Shell, times: int) -> None:
    from countermand import Intent, Revoked, SecretToken
    from countermand._address import default_home

    token = SecretToken((default_home() / "grants" / "g-1.token").read_text().strip())
    for number in range(times):
        with pytest.raises(Revoked):
            client.tool.perform(token, Intent.of("a.b", op_id=f"o-{number}"))


STORIES: list[Story] = [
    active,
    cancelled,
    finished,
    never_opened,
    past_its_deadline,
    fenced,
    asked,
    late,
    with_gaps,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_real_report_is_as_the_schema_says(
    granted: Shell, clock: ManualClock, real: Sidecar, story: Story
) -> None:
    """And it would not be with a field more, or without any one of them, wherever it is."""
    told = story(granted, clock, real)
    assert told["schema"] == "countermand.report/v1"
    assert faults(told) == []
    optional = {"$.cancel", "$.heads", "$.at_seq"}
    for path, spoilt in _spoilt(told):
        assert faults(spoilt) or path in optional, path


def _spoilt(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same document with one field too many, or too few, in each of its objects."""
    for path in _objects(_shortened(told)):
        where = "$" + "".join(f".{step}" for step in path)
        yield f"{where} and one more", _changed(told, path, lambda one: one.update(unheard_of=1))
        for name in _at(told, path):
            yield f"{where}.{name}", _changed(told, path, lambda one, name=name: one.pop(name))


def _shortened(told: dict[str, Any]) -> dict[str, Any]:
    """Look at three of each list: a thousand are no different."""
    return {name: part[:3] if isinstance(part, list) else part for name, part in told.items()}


def _objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the objects are whose fields have names of ours; labels and budgets are named by others."""
    if isinstance(value, dict):
        if path[-1:] not in (("labels",), ("budgets",)):
            yield path
        for name, part in value.items():
            yield from _objects(part, (*path, name))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _objects(part, (*path, at))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _changed(told: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any], object]) -> dict[str, Any]:
    spoilt = copy.deepcopy(_shortened(told))
    change(_at(spoilt, path))
    return spoilt


def test_a_wrong_value_is_found(granted: Shell) -> None:
    """The schema looks at what is in a field, too."""
    told = granted.json("report", "r-1")
    for field, wrong in (
        ("time", "yesterday"),
        ("time", "2026-03-04T12:00:00+01:00"),
        ("cut_seq", -1),
        ("cut_seq", "7"),
        ("durability", "SOLID"),
        ("quiesced", "yes"),
        ("schema", "countermand.report/v2"),
        ("gaps", [1]),
    ):
        assert faults(told | {field: wrong}), (field, wrong)
