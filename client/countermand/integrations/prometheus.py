"""Counters of what the client was told, for Prometheus: `countermand.integrations.prometheus.count()`."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from countermand import CommitRefused, ScopeStopped, SessionChanged, WorkUnstopped, on_event

__all__ = ["count"]


def count(registry: CollectorRegistry = REGISTRY) -> Callable[[], None]:
    """Count from now on, in this registry; answers a function that ends that and takes the counters away.

    A label is a word of ours, never what a caller said: no id, name, note or tag.
    """
    stops = Counter(
        "countermand_scope_stops_total",
        "Scopes that were stopped in this process.",
        ["reason", "cause"],
        registry=registry,
    )
    unstopped = Counter(
        "countermand_work_unstopped_total",
        "Work that was still going on when the grace period of its stop was over.",
        registry=registry,
    )
    refused = Counter(
        "countermand_commits_refused_total",
        "Commits and performs of this process that got no permit.",
        ["reason"],
        registry=registry,
    )

    def heard(event: ScopeStopped | WorkUnstopped | CommitRefused | SessionChanged) -> None:
        match event:
            case ScopeStopped() if not event.receipt.late:
                stops.labels(event.stop.reason.value, event.stop.cause.value).inc()
            case WorkUnstopped():
                unstopped.inc()
            case CommitRefused():
                refused.labels(event.reason.value).inc()

    take_back = on_event(heard)

    def end() -> None:
        take_back()
        for counter in (stops, unstopped, refused):
            registry.unregister(counter)

    return end
