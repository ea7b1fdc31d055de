"""Whether a Redis may decide: asked of every new connection, so that a replaced server is asked too."""

from redis.exceptions import NoPermissionError, ResponseError

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.store import Durability
from grant_service.store.link import Call

_STRENGTH = (Durability.VOLATILE, Durability.EVERY_SECOND, Durability.SYNCED)
_MIN_REDIS, _MIN_VALKEY = (7, 0), (7, 2)

#: What makes an acknowledged decision survive a power cut.
_SYNCED = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


async def examine(ask: Call, weakest: Durability) -> Durability:
    """Answer how durable the server's writes are, or raise StoreFailed with the line that makes it fit."""
    info = _pairs(await ask("INFO"))
    if info.get("loading") not in (None, "0"):
        raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="Redis is loading its data")
    _check_version(info)
    if info.get("redis_mode") != "standalone":
        raise _unfit(f"it runs in {info.get('redis_mode')} mode", "use a Redis in standalone mode")
    if info.get("role") != "master":
        raise _unfit("it is a replica", "point the store's URL at the primary")
    if info.get("maxmemory_policy") != "noeviction":
        raise _unfit(
            f"it may evict keys (maxmemory-policy {info.get('maxmemory_policy')})",
            "run: redis-cli CONFIG SET maxmemory-policy noeviction",
        )
    return await _durability(ask, weakest)


def _check_version(info: dict[str, str]) -> None:
    valkey = "valkey_version" in info
    name, least = ("Valkey", _MIN_VALKEY) if valkey else ("Redis", _MIN_REDIS)
    text = info.get("valkey_version" if valkey else "redis_version", "")
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= least):
        raise _unfit(f"it is {name} {text or '?'}", f"use {name} {least[0]}.{least[1]} or later")


async def _durability(ask: Call, weakest: Durability) -> Durability:
    try:
        flat = await ask("CONFIG", "GET", *_SYNCED)
    except (NoPermissionError, ResponseError):
        found, cause = Durability.VOLATILE, "its configuration is hidden, so its durability is not known"
        remedy = "allow CONFIG GET to the service's user, or accept durability VOLATILE"
    else:
        config = dict(zip(flat[::2], flat[1::2], strict=True))
        found, cause = _tier(config), "its writes survive less than was asked for"
        wrong = [f"{name} {value}" for name, value in _SYNCED.items() if config.get(name) != value]
        remedy = f"run: redis-cli CONFIG SET {' '.join(wrong)}; or accept durability {found}"
    if _STRENGTH.index(found) < _STRENGTH.index(weakest):
        raise _unfit(f"{cause} (durability {found}, asked for {weakest})", remedy)
    return found


def _tier(config: dict[str, str]) -> Durability:
    """Tell the tier. A file that is not synced while it is rewritten counts as none."""
    if config.get("appendonly") != "yes" or config.get("no-appendfsync-on-rewrite") != "no":
        return Durability.VOLATILE
    by_fsync = {"always": Durability.SYNCED, "everysec": Durability.EVERY_SECOND}
    return by_fsync.get(config.get("appendfsync", ""), Durability.VOLATILE)


def _pairs(info: str) -> dict[str, str]:
    rows = (line.partition(":") for line in info.splitlines())
    return {name: value for name, colon, value in rows if colon}


def _unfit(cause: str, remedy: str) -> StoreFailed:
    return StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy=remedy)
