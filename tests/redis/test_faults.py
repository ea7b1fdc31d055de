"""What the driver raises, turned into what a caller is told."""

import pytest
import redis.exceptions
from redis._parsers.base import BaseParser

from grant_service.core.errors import ErrorReason, StoreFailed, explain
from grant_service.store.faults import store_failed
from grant_service.store.link import LinkBroken

FULL, UNFIT = ErrorReason.STORE_FULL, ErrorReason.STORE_UNFIT
UNAVAILABLE, INTERNAL = ErrorReason.STORE_UNAVAILABLE, ErrorReason.INTERNAL


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", FULL),
        ("MISCONF Errors writing to the AOF file: No space left on device", UNFIT),
        ("READONLY You can't write against a read only replica.", UNFIT),
        ("NOREPLICAS Not enough good replicas to write.", UNFIT),
        ("NOPERM this user has no permissions to run the 'xadd' command", UNFIT),
        ("NOAUTH Authentication required.", UNFIT),
        ("WRONGPASS invalid username-password pair or user is disabled.", UNFIT),
        ("CLUSTERDOWN Hash slot not served", UNFIT),
        ("MOVED 3999 127.0.0.1:6381", UNFIT),
        ("CROSSSLOT Keys in request don't hash to the same slot", UNFIT),
        ("LOADING Redis is loading the dataset in memory", UNAVAILABLE),
        ("MASTERDOWN Link with MASTER is down", UNAVAILABLE),
        ("BUSY Redis is busy running a script.", UNAVAILABLE),
        ("NOSCRIPT No matching script. Please use EVAL.", UNAVAILABLE),
        ("ERR max number of clients reached", UNAVAILABLE),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", INTERNAL),
        ("ERR user_script:12: attempt to index a nil value script: abc, on @user_script:12.", INTERNAL),
        ("SOMETHING new", INTERNAL),
    ],
)
def test_an_error_reply_is_told_by_its_first_word(reply: str, reason: ErrorReason) -> None:
    """Each has a reason and a sentence of ours; what Redis said stays inside."""
    failed = store_failed(BaseParser.parse_error(reply))
    assert failed.refusal.reason is reason
    said = explain(failed.refusal)
    assert reply.partition(" ")[2] not in said
    assert "?" not in said or reason is INTERNAL
    assert "no perm" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.exceptions.TimeoutError("no reply"), "in time"),
        (TimeoutError(), "in time"),
        (redis.exceptions.ConnectionError("Connection closed by server."), "the connection"),
        (redis.exceptions.InvalidResponse("Protocol Error: x"), "the connection"),
        (ConnectionResetError(104, "reset"), "the connection"),
        (OSError("odd"), "the connection"),
    ],
)
def test_a_broken_connection_is_unavailable(error: Exception, said: str) -> None:
    """Whatever broke it, and also when it comes to the callers wrapped."""
    broken = LinkBroken("the connection broke before the reply came")
    broken.__cause__ = error
    for raised in (error, broken):
        failed = store_failed(raised)
        assert failed.refusal.reason is UNAVAILABLE
        assert said in failed.refusal.details["cause"]


def test_an_unfit_server_is_told_as_such_to_all_who_waited() -> None:
    """The start checks fail a connection on which calls wait already: each of them gets the reason."""
    unfit = StoreFailed(UNFIT, cause="it is a replica", remedy="use the primary")
    broken = LinkBroken("the connection broke before the reply came")
    broken.__cause__ = unfit
    failed = store_failed(broken)
    assert failed is not unfit, "an exception that many raise must not be one object"
    assert failed.refusal == unfit.refusal
