"""The application that the worker of these tests runs; they import the same."""

import os

from celery import Celery

from countermand.integrations.celery import granted
from tests.queues.layers import job
from tests.queues.support import work

REDIS = os.environ["QUEUE_REDIS"]

app = Celery("queues", broker=f"redis+socket://{REDIS}", backend=f"redis+socket://{REDIS}")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
    result_extended=True,
    result_backend_thread_safe=True,  # or each thread that waits leaves a connection behind
)


def key(key: str, *_: object) -> dict[str, str]:
    """What the permit is for."""
    return {"key": key}


@app.task(base=granted(work.ACTION, resource=lambda key, fault: f"key:{key}"), autoretry_for=(Exception,))
def hit(key: str, fault: str) -> str:
    """Be an effect; whatever it raises, celery was told to try again."""
    return work.hit(key, fault)


@app.task(bind=True, base=granted("job.flaky", args=key, attempts=2))
def flaky(self: object, key: str) -> str:
    """Fail once, with nothing sent. Whoever shows their request shows no token."""
    print(self.request)  # type: ignore[attr-defined]
    return work.flaky(key)


@app.task(base=granted("job.patient"))
def patient(key: str) -> None:
    """Go on until told to stop."""
    work.patient(key)


@app.task(base=granted("job.brief", ttl="1s"))
def brief(key: str) -> str:
    """Be granted for a second."""
    return work.hit(key, "")


@app.task(base=granted("job.lasting", ttl="1s", extend="30s"))
def lasting(key: str) -> str:
    """The same, as long as the run lasts."""
    return work.hit(key, "")


@app.task(base=granted(job.ACTION, resource=job.resource, scopes=job.SCOPES))
def late(key: str) -> str:
    """Write and mail, for the seven layers."""
    return job.late(key)
