"""What the contract and the rules have, the docs list, and nothing else: both ways."""

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import countermand
from countermand import _errors as client_errors
from countermand.integrations import prometheus
from countermand.v1 import errors_pb2
from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason
from grant_service.core.report import PARTS
from grant_service.core.run import StopReason
from grant_service.core.scope import (
    Reversibility,
    resource_fault,
    resource_matches,
    resource_pattern_fault,
)
from grant_service.core.store import Durability
from grant_service.http.metrics import Metrics
from grant_service.rpc.errors import ALARMS, CODES
from grant_service.rpc.health import Health
from grant_service.rpc.roles import ALLOWED
from grant_service.rpc.tally import Tally
from grant_service.rpc.watching import Watching
from grant_service.store.keys import LIVES, Life
from grant_service.store.memory import MemoryStore
from tests.docs.pages import code, page


def test_every_reason_of_a_refusal_is_listed() -> None:
    """docs/errors.md tells for each reason its code, its exception, and whether it is an alarm."""
    listed = {}
    for reason, status, exception, meaning in page("docs/errors.md").table("Reason"):
        assert meaning.endswith("."), f"{reason} does not say what to do"
        listed[code(reason)] = (code(status), code(exception), reason.endswith(" !"))
    assert listed == {
        reason.value: (
            CODES[reason].name,
            client_errors.CLASSES[_in_client(reason)].__name__,
            reason in ALARMS,
        )
        for reason in ErrorReason
    }


def test_reasons_are_listed_under_what_to_do_next() -> None:
    """Each section of docs/errors.md holds the exceptions below the parent in its heading."""
    errors = page("docs/errors.md")
    for heading in re.findall(r"^## (.*\(`.*`\))$", errors.text, re.MULTILINE):
        parent = getattr(client_errors, re.findall(r"`(\w+)`\)", heading)[0])
        below = re.findall(r"^\| `\w+`(?: !)? \| `\w+` \| `(\w+)` \|", errors.under(heading), re.MULTILINE)
        assert below, heading
        wrong = [name for name in below if not issubclass(getattr(client_errors, name), parent)]
        assert not wrong, f"{wrong} are no {parent.__name__}"


def _in_client(reason: ErrorReason) -> Any:
    from countermand._words import ErrorReason as ClientReason

    return ClientReason(reason.value)


def test_every_reason_of_a_stop_is_listed() -> None:
    """docs/concepts.md lists the reasons for which a run is ended, as the contract has them."""
    listed = {code(row[0]) for row in page("docs/concepts.md").table("Reason")}
    names = errors_pb2.StopReason.DESCRIPTOR.values_by_name
    contract = {name.removeprefix("STOP_REASON_") for name in names}
    assert listed == set(StopReason) == contract - {"UNSPECIFIED"}


def test_every_rpc_is_listed_with_its_roles() -> None:
    """docs/concepts.md lists who may call what."""
    listed = {code(row[0]): row[1].split(", ") for row in page("docs/concepts.md").table("RPC")}
    assert listed == {rpc: sorted(roles) for rpc, roles in ALLOWED.items()}


def test_every_part_of_the_report_is_listed_with_its_states() -> None:
    """docs/concepts.md puts each state in the part of the report in which it is told."""
    listed = {code(row[0]): states_in(row[1]) for row in page("docs/concepts.md").table("Part")}
    assert listed == {part: set(states) for part, states in PARTS.items()}


def states_in(cell: str) -> set[str]:
    """The states a cell names."""
    return set(re.findall(r"`([A-Z_]+)`", cell)) & set(ActionState)


def test_every_state_of_an_action_is_in_the_picture() -> None:
    """The picture of an action's life has every state."""
    picture = page("docs/concepts.md").blocks[1].text
    assert set(re.findall(r"\b[A-Z_]{5,}\b", picture)) == set(ActionState)


def test_every_class_of_reversibility_is_listed_in_order() -> None:
    """docs/concepts.md lists the classes from the easiest to the hardest."""
    assert [code(row[0]) for row in page("docs/concepts.md").table("Class")] == list(Reversibility)


def test_every_tier_of_durability_is_listed() -> None:
    """docs/design.md lists what an acknowledged decision survives."""
    assert {code(row[0]) for row in page("docs/design.md").table("Tier")} == set(Durability)


def test_every_redis_key_is_listed_with_its_life() -> None:
    """docs/design.md names every key; what is said to live for ever does."""
    rows = page("docs/design.md").table("Key (after `cm5:{p0}:`)")
    listed = {code(row[0]).partition(":")[0]: row[2] for row in rows}
    assert listed.keys() == LIVES.keys()
    for name, life in LIVES.items():
        assert listed[name].startswith("for ever") == (life is Life.PERMANENT), name


def test_every_metric_is_listed_with_its_type_and_labels() -> None:
    """docs/metrics.md lists what the sidecar tells, and what the client's counters do."""
    listed = {code(row[0]): (row[1], tuple(re.findall(r"`(\w+)`", row[2]))) for row in _metrics()}
    registry, store = CollectorRegistry(), MemoryStore()
    end = prometheus.count(registry)
    metrics = Metrics(Tally(), Health(store), Watching(store), {})
    told = [*metrics.snapshot().collect(), *registry.collect()]
    labels = {one.name: one._labelnames for one in metrics.snapshot().collect()}
    labels |= {one.describe()[0].name: one._labelnames for one in registry._collector_to_names}
    end()
    suffix = {"counter": "_total"}
    assert listed == {
        one.name + suffix.get(one.type, ""): (one.type, tuple(labels[one.name])) for one in told
    }
    assert all(row[3].endswith(".") for row in _metrics())


def _metrics() -> list[list[str]]:
    return page("docs/metrics.md").table("Metric")


@pytest.mark.parametrize("row", page("docs/concepts.md").table("Pattern"), ids=lambda row: row[0])
def test_examples_of_patterns_are_true(row: list[str]) -> None:
    """The examples of resource patterns allow and forbid what docs/concepts.md says."""
    pattern = code(row[0])
    assert resource_pattern_fault(pattern) is None
    allowed, forbidden = (re.findall(r"`([^`]+)`", cell) for cell in row[1:])
    assert allowed
    assert forbidden
    for resource in (*allowed, *forbidden):
        assert resource_fault(resource) is None
    assert all(resource_matches(pattern, resource) for resource in allowed)
    assert not any(resource_matches(pattern, resource) for resource in forbidden)


def test_the_exceptions_named_are_exported() -> None:
    """A reader can import every exception that docs/errors.md names."""
    named = {code(row[2]) for row in page("docs/errors.md").table("Reason")}
    assert named <= set(countermand.__all__)
