"""Every setting of the sidecar: one frozen object, one environment variable for each field.

Nothing else in the service reads the environment. The client has its own two (COUNTERMAND_HOME,
COUNTERMAND_TARGET), because it must find the sidecar without importing it.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from grant_service.core.store import Durability

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_home() -> Path:
    """The state directory of the user who runs the sidecar."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "countermand"


class Settings(BaseSettings):
    """Run the sidecar.

    Each option is also an environment variable, named in brackets; the option wins.
    """

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        env_prefix="COUNTERMAND_",
        frozen=True,
        extra="forbid",
        cli_prog_name="countermand serve",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    home: Path = Field(default_factory=default_home)
    """Directory of sockets, keys and data. Keep the path short: a socket's may have 107 bytes."""

    store: str = "sqlite"
    """Where the truth is kept: `sqlite` (embedded, one sidecar), `memory` (forgets everything; tests), or the
    URL of a Redis or Valkey that several sidecars share (redis://, rediss://, unix://)."""

    accept_durability: Durability = Durability.SYNCED
    """The weakest durability a Redis may have. Below SYNCED a power cut can forget a revocation; every
    report then says so."""

    tools: str = ""
    """The TOML file in which tools are registered: how reversible each is, and what undoes it. Read at start.
    What a call leaves unset is filled in from there, and what it says otherwise refused."""

    tools_only: bool = False
    """Refuse actions that are not in the tools file."""

    insecure_dev_tcp: str = ""
    """Listen on loopback TCP too, such as `127.0.0.1:7420`: issuer there, tool, operator, auditor and
    compensator on the next four ports. Anybody on this machine can then do anything. For development only."""

    metrics_listen: str = ""
    """Serve metrics, by plain HTTP at /metrics: on a loopback address and port such as `127.0.0.1:7430`; or,
    if it says `socket`, on `metrics.sock` beside the other sockets. They tell numbers and no names."""

    grant_ttl: Seconds = 300
    """How long a grant lasts if its request does not say. Short: a stolen token is worth this much."""

    grant_ttl_max: Annotated[float, Field(gt=0, le=900)] = 900
    """The longest a grant may last; 900 s at the most."""

    run_ttl: Seconds = 86_400
    """How long a run may last if its request does not say."""

    run_ttl_max: Seconds = 30 * 86_400
    """The longest a run may last."""

    keep: Seconds = 30 * 86_400
    """How long Redis keeps a run's records beyond its deadline. Cancelled runs leave a tombstone for ever."""

    prepare_ttl: Seconds = 60
    """How long an action may stay prepared if its request does not say."""

    prepare_ttl_max: Seconds = 900
    """The longest an action may stay prepared."""

    approval_wait: Seconds = 900
    """How long an action may wait for a person if its request does not say; never past its grant's expiry."""

    approval_use: Seconds = 300
    """How long an approval can be used if whoever gives it does not say."""

    permit_use: Seconds = 5
    """How long a permit lasts if its request does not say. This is the window in which an effect can land
    after a cancel: long enough to start the effect, no longer."""

    permit_use_max: Seconds = 60
    """The longest a permit may last."""

    archive: Literal["auto", "on", "off"] = "auto"
    """Whether runs that are over move from the store into files; reports are told from those. `auto` is on
    for the embedded store, and off for a Redis, where every sidecar would have files of its own."""

    archive_directory: Path | None = None
    """Where the archive is; `archive` below the home if not set. Several sidecars may share one."""

    archive_after: Annotated[float, Field(ge=900)] = 7 * 86_400
    """How long after its end a run stays in the store. One whose effects can still be undone stays longer."""

    archive_keep: Annotated[float, Field(ge=0)] = 0
    """How long archive files are kept before they are deleted; 0 is for ever."""

    undo_ttl: Seconds = 7 * 86_400
    """How long an effect may be undone, called off or asked about, from its prepare on; never longer than
    its run's records are kept. What became of it may be asked for 15 minutes after its permit in any case."""

    undo_lease: Seconds = 30
    """How long a compensator has for one attempt if it does not say; it can renew that."""

    undo_lease_max: Seconds = 900
    """The longest it may ask for at a time. After a crash nobody else tries before it is over."""

    undo_attempts: Annotated[int, Field(gt=0, le=100)] = 6
    """How often a compensator tries before an operator has to look."""

    undo_retry: Seconds = 2
    """How long after a failed attempt the next one is due; twice as long each time, 64 times at the most."""

    max_actions: Annotated[int, Field(gt=0)] = 100_000
    """How many actions a run may prepare: a runaway agent must not fill the store."""

    max_delegations: Annotated[int, Field(gt=0)] = 100_000
    """How many grants may be delegated in a tree of runs: a runaway agent must not fill the store."""

    decision_timeout: Seconds = 2
    """How long a decision may take; after it the answer is `do not act, ask again`."""

    operator_timeout: Seconds = 10
    """How long a cancel or a read may take, whoever asks. Longer, because a report may be long."""

    max_calls: Annotated[int, Field(gt=0)] = 512
    """How many calls the issuer's, the tool's and the compensator's listener each have under way; more are
    refused at once."""

    max_operator_calls: Annotated[int, Field(gt=0)] = 64
    """The same for the operator's and the auditor's: own slots, so that no flood starves a cancel."""

    drain_timeout: Seconds = 10
    """How long SIGTERM waits for calls under way. Keep it below the supervisor's own patience."""

    token_cache: Annotated[int, Field(ge=0)] = 4096
    """How many verified tokens are remembered. To verify one costs about 100 us, to remember it 1 us."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged. No level logs a token."""

    @field_validator("home", mode="before")
    @classmethod
    def _said_in_full(cls, value: object) -> object:
        if str(value).startswith("~") or not str(value):
            raise ValueError("must be a path; nothing expands ~ here, and an empty one is a mistake")
        return value

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if value in ("sqlite", "memory") or value.startswith(("redis://", "rediss://", "unix://")):
            return value
        raise ValueError("must be sqlite, memory, or a redis://, rediss:// or unix:// URL")

    @field_validator("grant_ttl_max", "run_ttl_max", "prepare_ttl_max", "permit_use_max", "undo_lease_max")
    @classmethod
    def _not_below_the_default(cls, value: float, info: ValidationInfo) -> float:
        name = str(info.field_name).removesuffix("_max")
        default = info.data.get(name, 0)  # absent if it is itself at fault, and told of already
        if value < default:
            raise ValueError(f"must not be less than {variable(name)}, which is {default:.15g}")
        return value

    @field_validator("insecure_dev_tcp")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        if value and not 0 < _loopback_port(value) <= 65_531:
            raise ValueError("must be ADDRESS:PORT, with four free ports after it")
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _loopback_or_socket(cls, value: str) -> str:
        if value not in ("", "socket") and not 0 < _loopback_port(value) <= 65_535:
            raise ValueError("must be ADDRESS:PORT, or socket")
        return value

    @property
    def archive_path(self) -> Path | None:
        """Where runs that are over go, or None if they stay in the store."""
        wanted = self.archive == "on" or (self.archive == "auto" and self.store == "sqlite")
        return (self.archive_directory or self.home / "archive") if wanted else None


def _loopback_port(value: str) -> int:
    """Read the port of a loopback address; 0 if there is none."""
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdigit():
        return 0
    if not ipaddress.ip_address(host.strip("[]")).is_loopback:
        raise ValueError("must be a loopback address such as 127.0.0.1: it has no authentication at all")
    return int(port)


def variable(name: str) -> str:
    """Name the environment variable of a setting."""
    return f"COUNTERMAND_{name.upper()}"


for _name, _field in Settings.model_fields.items():
    _field.description = " ".join(f"{_field.description} [{variable(_name)}]".split())
