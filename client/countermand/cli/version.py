"""Which versions are here."""

from importlib.util import find_spec

import typer

from countermand.cli.call import Call
from countermand.cli.documents import document
from countermand.cli.output import show
from countermand.cli.verb import Panel, verb

PROTOCOL = "countermand.v1"

#: What the extra `service` brings; the sidecar's own package comes with every install.
_SERVICE_NEEDS = (
    "grant_service",
    "cryptography",
    "jwt",
    "pydantic_settings",
    "redis",
    "structlog",
    "grpc_health",
)


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.LOOK)(version)


def installed_version() -> str:
    """The version of this distribution: client, command and sidecar are released together."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("countermand")
    except PackageNotFoundError:
        return "unknown (not installed)"


def missing_for_service() -> list[str]:
    """The packages the sidecar needs that are not here."""
    return [name for name in _SERVICE_NEEDS if find_spec(name) is None]


def version(call: Call) -> None:
    """Print the versions of the client, the sidecar and the protocol."""
    own = installed_version()
    service = None if missing_for_service() else own
    whole = document("version", client=own, service=service, protocol=PROTOCOL)
    told = service or "not installed: pip install 'countermand[service]'"
    if call.output.value == "table":  # without the console: this verb answers at once
        print(f"client    {own}\nservice   {told}\nprotocol  {PROTOCOL}")
        return
    show(call.output, whole, lambda _: None)
