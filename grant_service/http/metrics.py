"""The metrics of a sidecar, as Prometheus reads them. docs/metrics.md tells what each is for.

A label is a member of an enum or of a table of ours, never what a caller said: so nobody's id, note or tag is
told to whoever reads along, and no caller can make more series than there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from grant_service.core.errors import AFTER_THE_STOP
from grant_service.core.store import Durability
from grant_service.rpc.guard import Slots
from grant_service.rpc.health import Health
from grant_service.rpc.roles import Role
from grant_service.rpc.session import Sessions
from grant_service.rpc.tally import BOUNDS, Tally
from grant_service.rpc.watching import Watching

#: The calls of which a report tells as late attempts.
_ATTEMPTS = frozenset({"prepare", "commit", "perform"})


W = TypeVar("W", bound=str)


class Listening(Protocol):
    """What is looked at of one listener."""

    @property
    def slots(self) -> Slots: ...
    @property
    def sessions(self) -> Sessions: ...


@dataclass(frozen=True, slots=True)
class Metrics:
    """Writes what there is to count in one sidecar."""

    tally: Tally
    health: Health
    watching: Watching
    listening: Mapping[Role, Listening]

    def snapshot(self) -> "Snapshot":
        """Take all numbers at one moment; on the event loop, which alone changes them."""
        return Snapshot(tuple(self._families()))

    def _families(self) -> Iterator[Metric]:
        yield from self._of_calls()
        yield from self._of_stops()
        yield from self._of_listeners()
        yield from self._of_the_store()

    def _of_calls(self) -> Iterator[Metric]:
        answers = sorted(self.tally.answers.items())
        text = "Calls that were answered, by what the caller was told."
        decided = CounterMetricFamily("countermand_decisions_total", text, labels=["verb", "answer"])
        late = dict.fromkeys(sorted(_ATTEMPTS), 0)
        for (verb, answer), count in answers:
            decided.add_metric([verb, answer], count)
            if verb in _ATTEMPTS and answer in AFTER_THE_STOP:
                late[verb] += count
        yield decided
        text = "Seconds from a call's arrival to its answer."
        seconds = HistogramMetricFamily("countermand_decision_seconds", text, labels=["verb"])
        for verb, spread in self.tally.seconds.items():
            if any(spread.buckets):
                seconds.add_metric([verb], _cumulative(spread.buckets), spread.total)
        yield seconds
        yield _counter(
            "countermand_late_attempts_total", "Attempts to act that came after the stop.", "verb", late
        )

    def _of_stops(self) -> Iterator[Metric]:
        text = "Runs and grants that were ended here, and fences that were set, by reason."
        yield _counter("countermand_stops_total", text, "reason", self.tally.stops)
        text = "Watchers that were told of a stop, by what a commit would be refused with."
        yield _counter(
            "countermand_stops_told_total", text, "answer", dict(sorted(self.watching.told.items()))
        )
        yield _gauge(
            "countermand_watches", "Runs and grants that somebody is waiting to hear of.", len(self.watching)
        )

    def _of_listeners(self) -> Iterator[Metric]:
        sessions = {role: len(one.sessions) for role, one in self.listening.items()}
        yield _gauges("countermand_sessions", "Sessions that are open.", "role", sessions)
        calls = {role: len(one.slots) for role, one in self.listening.items()}
        yield _gauges("countermand_calls", "Calls that are under way.", "role", calls)

    def _of_the_store(self) -> Iterator[Metric]:
        yield _gauge(
            "countermand_store_up", "1 if the store was well when last looked at.", self.health.is_well
        )
        standing = self.health.standing
        tiers = {tier: bool(standing and standing.durability is tier) for tier in Durability}
        text = "1 for what a decision of this store survives."
        yield _gauges("countermand_store_durability", text, "durability", tiers)
        text = (
            "Epochs that the store has shown since this sidecar started: each after the first ended all runs."
        )
        yield CounterMetricFamily("countermand_store_epochs_total", text, value=self.health.epochs)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Collector):
    """The numbers of one moment. They can be written in any thread."""

    families: tuple[Metric, ...]

    def collect(self) -> tuple[Metric, ...]:
        """Answer them."""
        return self.families

    def text(self) -> bytes:
        """Write them in the text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)


def _counter(name: str, text: str, label: str, counts: Mapping[W, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for word, count in counts.items():
        family.add_metric([word], count)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[W, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    """Say how many were within each bound, as the format wants it."""
    told, so_far = [], 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        so_far += count
        told.append((bound, float(so_far)))
    return told
