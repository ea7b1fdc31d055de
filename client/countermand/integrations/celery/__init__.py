"""Countermand for Celery: a task runs on its worker only if its run says so at that moment.

    @app.task(base=granted("email.send", resource=lambda to, text: f"mailto:{to}"))
    def send(to, text): ...

    with run.grant(scopes=["queue.enqueue celery:*", "email.send"]):
        send.delay("ann@example.com", "minutes")

The grant travels in a header of the message. Whoever can read the broker can do what the job may do.
"""

from countermand.integrations.celery.revoking import revoke
from countermand.integrations.celery.task import GrantTask, granted

__all__ = ["GrantTask", "granted", "revoke"]
