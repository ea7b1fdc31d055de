"""What `countermand doctor` checks, one function for each thing. Nothing here writes or decides."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from countermand import CountermandError, Durability, Report
from countermand._address import Role
from countermand.cli.call import Place, connect
from countermand.cli.version import installed_version, missing_for_service

if TYPE_CHECKING:
    from countermand.sync import Client

#: How long each question may take, in seconds.
_PATIENCE = 2.0


class Verdict(StrEnum):
    """How a check came out."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it came out, and the line that mends it."""

    name: str
    verdict: Verdict
    told: str
    fix: str = ""


def every(place: Place) -> Iterator[Check]:
    """Check everything, what others depend on first."""
    yield _versions()
    if place.is_tcp:
        yield Check(
            "target",
            Verdict.WARN,
            "loopback ports: anybody on this machine can do anything",
            "for anything but development, unset COUNTERMAND_TARGET and use the sockets",
        )
    else:
        home = _home(place.directory)
        yield home
        if not place.directory.is_dir():
            return  # nothing else can be there
        yield _private(place.directory / "run", "socket directory")
        yield from _keys(place.directory / "keys")
        yield from _tokens(place.directory / "grants")
    with connect(place, _PATIENCE) as client:
        answering = []
        for role in Role:
            check = _answers(client, role)
            answering.append(check.verdict is not Verdict.FAIL)
            yield check
        if all(answering):
            yield from _store(client)


def _versions() -> Check:
    missing = missing_for_service()
    if not missing:
        return Check("version", Verdict.OK, f"client and sidecar {installed_version()}")
    told = f"client {installed_version()}; the sidecar is not installed here ({', '.join(missing)} not found)"
    return Check("version", Verdict.WARN, told, "to run one here: pip install 'countermand[service]'")


def _home(home: Path) -> Check:
    if not home.exists():
        return Check(
            "home", Verdict.FAIL, f"{home} does not exist", "countermand serve, or set COUNTERMAND_HOME"
        )
    if not home.is_dir():
        return Check(
            "home", Verdict.FAIL, f"{home} is not a directory", "set COUNTERMAND_HOME to a directory"
        )
    if _others_can(home, stat.S_IWGRP | stat.S_IWOTH):
        return Check("home", Verdict.FAIL, f"others can write into {home}", f"chmod go-w {home}")
    return Check("home", Verdict.OK, str(home))


def _others_can(path: Path, bits: int) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & bits)


def _private(directory: Path, name: str) -> Check:
    if not directory.is_dir():
        return Check(name, Verdict.FAIL, f"{directory} does not exist", "countermand serve")
    if directory.stat().st_uid != os.getuid():
        told = f"{directory} belongs to user {directory.stat().st_uid}, not to you"
        return Check(name, Verdict.FAIL, told, "run as that user, or choose another COUNTERMAND_HOME")
    if _others_can(directory, 0o077):
        return Check(name, Verdict.FAIL, f"others can enter {directory}", f"chmod 700 {directory}")
    return Check(name, Verdict.OK, f"{directory}, yours alone")


def _keys(directory: Path) -> Iterator[Check]:
    check = _private(directory, "keys")
    if check.verdict is Verdict.FAIL:
        yield check
        return
    files = [path for path in sorted(directory.iterdir()) if path.is_file()]
    exposed = [path for path in files if _others_can(path, 0o077)]
    if exposed:
        names = " ".join(str(path) for path in exposed)
        yield Check(
            "keys", Verdict.FAIL, f"others can read {names}", f"chmod 600 {names}; then make new keys"
        )
    elif not files:
        yield Check("keys", Verdict.FAIL, f"{directory} holds no key", "countermand serve makes one")
    else:
        yield Check("keys", Verdict.OK, f"{directory}, yours alone")


def _tokens(directory: Path) -> Iterator[Check]:
    if directory.exists():
        yield _private(directory, "kept tokens")


def _answers(client: "Client", role: Role) -> Check:
    """Ask a listener for its health, by the standard protocol."""
    from countermand.cli.health import Health, health

    name = f"{role} listener"
    if fault := client.address.fault(role):
        told, _, fix = fault.partition("; ")
        return Check(name, Verdict.FAIL, told.removeprefix("no sidecar is running: "), fix)
    target = client.address.target(role).removeprefix("unix:")
    found = health(client.address.target(role), "", _PATIENCE)
    if found is Health.SERVING:
        return Check(name, Verdict.OK, f"{target} is serving")
    store = health(client.address.target(role), "store", _PATIENCE)
    if store is Health.NOT_SERVING:
        told = f"{target} answers, but its store does not"
        return Check(name, Verdict.FAIL, told, "see the sidecar's log for what the store says")
    if found is Health.NOT_SERVING:
        return Check(name, Verdict.FAIL, f"{target} is shutting down", "countermand serve")
    return Check(name, Verdict.FAIL, f"{target} does not answer", "see the sidecar's log")


def _store(client: "Client") -> Iterator[Check]:
    """Say what the store keeps. Only a report tells, so one of the youngest run is read."""
    try:
        page = client.auditor.runs(page_size=1)
        report = client.auditor.report(page.runs[0].run_id) if page.runs else None
    except CountermandError as error:
        yield Check("store", Verdict.FAIL, " ".join(str(error).split()), "see the sidecar's log")
        return
    if report is None:
        yield Check("store", Verdict.OK, "answers; what it keeps is told once there is a run")
        return
    yield _durability(report)
    yield from _epoch(report)


#: What the first letters of a store's epoch say; any other is the replication id of a Redis or Valkey.
_KINDS = {"sql": "embedded (SQLite)", "mem": "memory"}


def _durability(report: Report) -> Check:
    kind = _KINDS.get(report.store_epoch.partition("-")[0], "Redis or Valkey")
    told = f"{kind}, {report.durability}, epoch {report.store_epoch}"
    if report.durability is Durability.SYNCED:
        return Check("store", Verdict.OK, told)
    fix = "use the embedded store, or a Redis with appendonly yes and appendfsync always"
    return Check("store", Verdict.WARN, f"{told}: a power cut may forget a stop", fix)


def _epoch(report: Report) -> Iterator[Check]:
    if report.run.store_epoch not in ("", report.store_epoch):
        told = f"the youngest run is of epoch {report.run.store_epoch}: all older grants are over"
        yield Check(
            "store epoch", Verdict.WARN, told, "expected after a restart that lost the store; open new runs"
        )
