"""What the jobs of these tests do, on each queue: effects on a target in files, for any process to count."""

import os
import time
from pathlib import Path

import countermand.sync
from countermand import NotSent
from countermand.testing.conformance import Target

ACTION = "conformance.hit"


def folder() -> Path:
    """Where the target is: the worker is told by its environment."""
    return Path(os.environ["QUEUE_TARGET"])


def target() -> Target:
    """The target."""
    return Target(folder())


def begin(key: str) -> int:
    """Put on file that a body began, and in which process; answer how many have."""
    with (folder() / f"{key}.begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    return len(pids(key))


def pids(key: str) -> list[int]:
    """The processes in which the bodies of a job began, one for each time."""
    path = folder() / f"{key}.begun"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def hit(key: str, fault: str) -> str:
    """Be an effect, for code that blocks."""
    begin(key)
    target().hit(key, fault or None)
    return key


async def hit_async(key: str, fault: str) -> str:
    """Be an effect, for code on an event loop."""
    begin(key)
    await target().hit_async(key, fault or None)
    return key


def flaky(key: str) -> str:
    """Send nothing the first time, and say so."""
    if begin(key) == 1:
        raise NotSent("the server is down")
    target().hit(key)
    return key


def patient(key: str) -> None:
    """Go on until the token says that it is time to stop; for code that blocks."""
    begin(key)
    scope = countermand.sync.current_scope()
    assert scope is not None
    scope.token.wait("60s")
    scope.token.check()
    time.sleep(60)
