"""Countermand for Dramatiq: a message is processed only if its run says so at that moment.

    @dramatiq.actor(actor_class=granted("email.send", resource=lambda to, text: f"mailto:{to}"))
    def send(to, text): ...

    with run.grant(scopes=["queue.enqueue dramatiq:*", "email.send"]):
        send.send("ann@example.com", "minutes")

The grant travels in the message's options. Whoever can read the broker can do what the message may do.
"""

from countermand.integrations.dramatiq.actor import GrantActor, granted
from countermand.integrations.dramatiq.taking_back import take_back

__all__ = ["GrantActor", "granted", "take_back"]
