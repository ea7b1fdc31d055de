"""What went wrong in Redis, as the reason a caller gets: the one place that knows the driver's errors.

The text a caller sees is ours; the driver's own error is kept as the cause of the exception, for the log.
"""

import redis.exceptions

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.store.link import LinkBroken

_FULL, _UNFIT = ErrorReason.STORE_FULL, ErrorReason.STORE_UNFIT
_UNAVAILABLE, _INTERNAL = ErrorReason.STORE_UNAVAILABLE, ErrorReason.INTERNAL

_CLUSTER = (_UNFIT, "it is part of a Redis Cluster", "use a Redis that is not in cluster mode")
_LOGIN = (_UNFIT, "it wants a user and password", "put the right ones into the store's URL")
_RIGHTS = (_UNFIT, "its user lacks a right", "give the user the rights in deploy/redis-acl.conf")

#: The first word of an error reply -> reason, cause, and for a store that is not fit what to do about it.
_REPLIES: dict[str, tuple[ErrorReason, str, str]] = {
    "OOM": (_FULL, "Redis has reached its maxmemory", ""),
    "MISCONF": (_UNFIT, "Redis cannot write to its disk", "see the log of Redis and make room on its disk"),
    "READONLY": (_UNFIT, "it is a replica", "point the store's URL at the primary"),
    "NOREPLICAS": (_UNFIT, "Redis misses replicas it must have to write", "bring its replicas back"),
    "NOPERM": _RIGHTS,
    "NOAUTH": _LOGIN,
    "WRONGPASS": _LOGIN,
    "CLUSTERDOWN": _CLUSTER,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "LOADING": (_UNAVAILABLE, "Redis is loading its data", ""),
    "MASTERDOWN": (_UNAVAILABLE, "Redis has lost its primary", ""),
    "BUSY": (_UNAVAILABLE, "Redis is busy with a script", ""),
    "NOSCRIPT": (_UNAVAILABLE, "Redis keeps forgetting the scripts", ""),
}


def store_failed(error: Exception) -> StoreFailed:
    """Say what a driver's error means; raise the answer `from` the error."""
    first = origin(error)
    if isinstance(first, StoreFailed):
        return StoreFailed(first.refusal.reason, **first.refusal.details)
    code = _code(first)
    if code in _REPLIES:
        reason, cause, remedy = _REPLIES[code]
        return StoreFailed(reason, cause=cause, **({"remedy": remedy} if remedy else {}))
    if code and not isinstance(first, redis.exceptions.ConnectionError):
        return StoreFailed(_INTERNAL, cause="Redis answered with an error")
    if isinstance(first, TimeoutError | redis.exceptions.TimeoutError):
        return StoreFailed(_UNAVAILABLE, cause="Redis did not answer in time")
    return StoreFailed(_UNAVAILABLE, cause="the connection to Redis failed")


def origin(error: BaseException) -> BaseException:
    """Find what went wrong first: behind the error that a link's calls got, and behind the driver's own."""
    while isinstance(error.__cause__, redis.exceptions.RedisError | OSError | StoreFailed):
        if isinstance(error.__cause__, OSError) and not isinstance(error, LinkBroken | StoreFailed):
            break  # the driver's error says more: it names the place
        error = error.__cause__
    return error


def _code(error: BaseException) -> str:
    """The first word of an error reply, in capitals; '' for an error that is no reply."""
    if not isinstance(error, redis.exceptions.RedisError):
        return ""
    if str(error).startswith("The user executing the script can't"):
        return "NOPERM"  # what Redis 7.0 calls ERR when it happens inside a script
    word = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return word if word.isupper() and word.isalpha() else ""
