"""What a grant token says: its names, its limits, and the rules that minting and verifying share."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from grant_service.core.grant import MAX_CHAIN, GrantRef
from grant_service.core.run import MAX_DEPTH

ALGORITHM = "EdDSA"
TYPE = "agent-grant+jwt"
ISSUER = "countermand"

#: The longest token, in characters. The longest that is minted (8 runs, 8 grants, a subject) stays below.
MAX_SIZE = 4096
#: The longest life, in milliseconds, of a grant.
MAX_LIFE_MS = 900_000
#: The same in the whole seconds of a token: one more, because the issue is rounded down and the expiry up.
MAX_LIFE_S = MAX_LIFE_MS // 1000 + 1
MAX_ANCESTORS = MAX_DEPTH - 1
_MAX_TIME = 2**40

_NAMES = frozenset({"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "run", "anc"})
#: Who acts through whom, as RFC 8693 nests it: the grant this one was delegated from, and so on upwards. Only
#: a delegated grant has it.
_CHAIN = "act"
_TEXTS = ("iss", "aud", "sub", "jti", "run")
_TIMES = ("iat", "nbf", "exp")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write(ref: GrantRef, issue_time: int, expire_time: int) -> dict[str, Any]:
    """Put a grant in claims. Times go from milliseconds to the whole seconds of JWT, outwards.

    The store decides by its milliseconds. A token that ended earlier than its grant would cut authority short
    for whoever reads it; one that says up to a second more gives none.
    """
    issued = issue_time // 1000
    delegated = {_CHAIN: _nested(ref.chain)} if ref.chain else {}
    return delegated | {
        "iss": ISSUER,
        "aud": ref.audience,
        "sub": ref.subject,
        "jti": ref.grant_id,
        "iat": issued,
        "nbf": issued,
        "exp": -(-expire_time // 1000),
        "run": ref.run_id,
        "anc": list(ref.ancestors),
    }


def read(claims: Mapping[str, Any]) -> GrantRef:
    """Take the grant out of claims in which `fault` found none."""
    told = (claims["jti"], claims["run"], tuple(claims["anc"]), claims["aud"], claims["sub"])
    return GrantRef(*told, chain=tuple(_chain(claims.get(_CHAIN)))[::-1])


def _nested(chain: tuple[str, ...]) -> dict[str, Any]:
    """Nest a chain, the nearest grant outermost."""
    nested: dict[str, Any] = {}
    for grant_id in chain:
        nested = {"sub": grant_id} | ({"act": nested} if nested else {})
    return nested


def _chain(nested: Any) -> Iterator[str]:
    """Walk up a chain in which `fault` found none, the nearest grant first."""
    while nested:
        yield nested["sub"]
        nested = nested.get("act")


def fault(claims: Mapping[str, Any]) -> str | None:
    """Name the first rule that these claims break, or None if they say exactly what a grant token says."""
    return next(_faults(claims), None)


def _faults(claims: Mapping[str, Any]) -> Iterator[str]:
    # Lazy: each line may rely on those before it.
    if claims.keys() - {_CHAIN} != _NAMES:
        yield f"its claims must be exactly {', '.join(sorted(_NAMES))}, and act if it was delegated"
    yield from (f"its {name} must be text" for name in _TEXTS if not _is_text(claims[name]))
    if claims["iss"] != ISSUER:
        yield f"its iss must be {ISSUER}"
    if not claims["aud"]:
        yield "its aud must be one audience"
    yield from (f"its {name} must be an id" for name in ("jti", "run") if not _is_id(claims[name]))
    yield from _time_faults(claims)
    yield from _ancestor_faults(claims["anc"], claims["run"])
    if _CHAIN in claims:
        yield from _chain_faults(claims[_CHAIN], claims["jti"])


def _time_faults(claims: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"its {name} must be a whole number of seconds" for name in _TIMES if not _is_time(claims[name])
    )
    if claims["nbf"] != claims["iat"]:
        yield "its nbf must equal its iat"
    if not 0 < claims["exp"] - claims["iat"] <= MAX_LIFE_S:
        yield f"its exp must be 1 to {MAX_LIFE_S} seconds after its iat"


def _ancestor_faults(ancestors: Any, run: str) -> Iterator[str]:
    if not isinstance(ancestors, list) or not all(_is_id(ancestor) for ancestor in ancestors):
        yield "its anc must be a list of ids"
    if len(ancestors) > MAX_ANCESTORS:
        yield f"its anc must hold at most {MAX_ANCESTORS} ids"
    if len({run, *ancestors}) != len(ancestors) + 1:
        yield "its anc and run must all differ"


def _chain_faults(nested: Any, grant_id: str) -> Iterator[str]:
    seen = [grant_id]
    while True:
        if (
            not isinstance(nested, dict)
            or not nested.keys() <= {"sub", "act"}
            or not _is_id(nested.get("sub"))
        ):
            yield "its act must hold the id of a grant as sub, and perhaps the next act"
        seen.append(nested["sub"])
        if len(seen) > MAX_CHAIN:
            yield f"its act must be at most {MAX_CHAIN - 1} deep"
        if "act" not in nested:
            break
        nested = nested["act"]
    if len(set(seen)) != len(seen):
        yield "its act and jti must all differ"


def _is_text(value: Any) -> bool:
    # JSON can spell half of a surrogate pair, which no log, store or wire could take.
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    # `type`, because True is an int to isinstance.
    return type(value) is int and 0 <= value < _MAX_TIME
