"""Countermand for taskiq: a task runs on its worker only if its run says so at that moment.

    @broker.task
    @granted("email.send", resource=lambda to, text: f"mailto:{to}")
    async def send(to: str, text: str) -> None: ...

    with run.grant(scopes=["queue.enqueue taskiq:*", "email.send"]):
        task = await enqueue(send, "ann@example.com", "minutes")

The grant travels among the task's arguments. Whoever can read the broker can do what the task may do.
"""

from countermand.integrations.taskiq.taking_back import take_back
from countermand.integrations.taskiq.task import enqueue, granted

__all__ = ["enqueue", "granted", "take_back"]
