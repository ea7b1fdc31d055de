"""The application that the worker of these tests runs; they import the same."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from countermand.integrations.dramatiq import granted
from tests.queues.layers import job
from tests.queues.support import work

URL = f"unix://{os.environ['QUEUE_REDIS']}"
#: A worker that follows a lost one takes its messages soon, not after a minute.
IMPATIENT = (
    {"heartbeat_timeout": 1000, "maintenance_chance": 1_000_000} if "QUEUE_IMPATIENT" in os.environ else {}
)

broker = RedisBroker(url=URL, **IMPATIENT)
results = RedisBackend(url=URL)
broker.add_middleware(Results(backend=results, store_results=True))
dramatiq.set_broker(broker)


def key(key: str, *_: object) -> dict[str, str]:
    """What the permit is for."""
    return {"key": key}


@dramatiq.actor(actor_class=granted(work.ACTION, resource=lambda key, fault: f"key:{key}"), min_backoff=100)
def hit(key: str, fault: str) -> str:
    """Be an effect; dramatiq would try again twenty times."""
    return work.hit(key, fault)


@dramatiq.actor(actor_class=granted("job.flaky", args=key, attempts=2))
def flaky(key: str) -> str:
    """Fail once, with nothing sent."""
    return work.flaky(key)


@dramatiq.actor(actor_class=granted("job.patient"))
def patient(key: str) -> None:
    """Go on until told to stop."""
    work.patient(key)


@dramatiq.actor(actor_class=granted("job.brief", ttl="1s"))
def brief(key: str) -> str:
    """Be granted for a second."""
    return work.hit(key, "")


@dramatiq.actor(actor_class=granted("job.lasting", ttl="1s", extend="30s"))
def lasting(key: str) -> str:
    """The same, as long as the run lasts."""
    return work.hit(key, "")


@dramatiq.actor(actor_class=granted(job.ACTION, resource=job.resource, scopes=job.SCOPES))
def late(key: str) -> str:
    """Write and mail, for the seven layers."""
    return job.late(key)
