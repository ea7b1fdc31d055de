"""A grant: short-lived authority for a run. Its token is a pointer; the store decides."""

from dataclasses import dataclass

from grant_service.core.scope import Scope


@dataclass(frozen=True, slots=True)
class GrantRef:
    """What a verified token points to. Verified is not cleared: the store has the last word."""

    grant_id: str
    run_id: str
    ancestors: tuple[str, ...]
    audience: str
    subject: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as the store holds it. `used` counts the commits of each limited scope, in order."""

    grant_id: str
    run_id: str
    ancestors: tuple[str, ...]
    audience: str
    epoch: str
    scopes: tuple[Scope, ...]
    used: tuple[int, ...]
    issue_time: int
    expire_time: int
    issue_seq: int
    #: The length of life asked for: with the scopes, what a repeated request must match.
    ttl_ms: int
