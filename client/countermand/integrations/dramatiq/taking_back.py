"""`take_back`: takes messages that nobody has fetched out of the queue, for `countermand compensate`."""

from collections.abc import Callable
from typing import Any

from dramatiq import Message
from dramatiq.broker import MessageProxy

from countermand._errors import Refused, Revoked
from countermand._models.duties import Duty

_TAKE = """
if redis.call('lrem', KEYS[1], 1, ARGV[1]) == 0 then return false end
local message = redis.call('hget', KEYS[2], ARGV[1])
redis.call('hdel', KEYS[2], ARGV[1])
return message
"""


def take_back(broker: Any) -> Callable[[Duty], Refused | None]:
    """Answer the canceller of a Redis broker, for `countermand.canceller("dramatiq.take_back")`.

    Dramatiq has none of its own. Who waits for the result of a message that was taken back is told so.
    """
    if not hasattr(broker, "client") or not hasattr(broker, "namespace"):
        raise TypeError("messages can be taken back from a RedisBroker only")

    def call_off(duty: Duty) -> Refused | None:
        queue, _, message_id = duty.handle.partition("/")
        key = f"{broker.namespace}:{queue}"
        taken = broker.client.eval(_TAKE, 2, key, f"{key}.msgs", message_id)
        if not taken:
            return Refused("it is not in the queue any more: a worker has it, or has had it")
        _tell(broker, Message.decode(taken), duty)
        return None

    return call_off


def _tell(broker: Any, message: Message[Any], duty: Duty) -> None:
    """Let whoever waits for its result know."""
    failed = MessageProxy(message)
    failed.fail()
    failed.stuff_exception(Revoked(f"it was called off: run {duty.run_id} was cancelled"))
    broker.emit_after("nack", failed)
