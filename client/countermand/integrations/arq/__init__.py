"""Countermand for arq: a job runs on its worker only if its run says so at that moment.

    @granted("email.send", resource=lambda to, text: f"mailto:{to}")
    async def send(ctx, to, text): ...

    with run.grant(scopes=["queue.enqueue arq:*", "email.send"]):
        await enqueue(pool, send, "ann@example.com", "minutes")

The grant travels among the job's arguments. Whoever can read its Redis can do what the job may do.
"""

from countermand.integrations.arq.aborting import abort
from countermand.integrations.arq.job import enqueue, granted

__all__ = ["abort", "enqueue", "granted"]
