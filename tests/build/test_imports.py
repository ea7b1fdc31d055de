"""The import rules hold in this tree, and each of them can fail."""

from pathlib import Path

import pytest

from tests.build.support import ROOT, run, script, write

FORBIDDEN = {
    "core knows no transport": ("grant_service/core/a.py", "import grpc.aio"),
    "core knows no driver": ("grant_service/core/a.py", "from redis.asyncio import Redis"),
    "core knows no web": ("grant_service/core/a.py", "import http.client"),
    "core knows no wire format": ("grant_service/core/a.py", "from google.protobuf import timestamp_pb2"),
    "core knows no contract": ("grant_service/core/sub/a.py", "from countermand.v1 import errors_pb2"),
    "core is innermost": ("grant_service/core/a.py", "from ..store import memory"),
    "core is innermost, by name": ("grant_service/core/a.py", "from grant_service import rpc"),
    "a type is a dependency": ("grant_service/core/a.py", "if TYPE_CHECKING:\n    import grpc"),
    "the service uses no client": ("grant_service/rpc/a.py", "from countermand import connect"),
    "the client has no redis": ("client/countermand/_async/a.py", "import redis"),
    "the client has no redis, late": ("client/countermand/a.py", "def f():\n    import redis"),
    "the client has no jwt": ("client/countermand/a.py", "import jwt"),
    "the client has no cryptography": ("client/countermand/a.py", "def f():\n    import cryptography"),
    "the verifier imports late": ("client/countermand/evidence.py", "import cryptography"),
    "the client has no service": ("client/countermand/a.py", "def f():\n    import grant_service.app"),
    "testing imports late": ("client/countermand/testing/__init__.py", "from grant_service import app"),
    "cli imports late": ("client/countermand/cli/serve.py", "import grant_service.app"),
    "typer is for the cli": ("client/countermand/a.py", "import typer"),
    "no cli by default": ("client/countermand/__init__.py", "from . import cli"),
    "the rules of HTTP know no client": ("client/countermand/integrations/_http/a.py", "import httpx"),
    "asgi knows no framework": (
        "client/countermand/integrations/asgi/a.py",
        "from starlette.requests import Request",
    ),
    "sqlalchemy is for its integration": ("client/countermand/integrations/asgi/a.py", "import sqlalchemy"),
    "the client has no prometheus": ("client/countermand/_events.py", "import prometheus_client"),
    "a queue is for its adapter": ("client/countermand/_job.py", "import celery"),
    "a queue is for no other adapter": (
        "client/countermand/integrations/arq/a.py",
        "from taskiq import Context",
    ),
    "an adapter has no redis": ("client/countermand/integrations/arq/a.py", "import redis"),
    "no integration by default": ("client/countermand/a.py", "from .integrations import mcp"),
}
ALLOWED = {
    "core uses itself": (
        "grant_service/core/a.py",
        "from .run import Run\nfrom grant_service.core import clock",
    ),
    "rpc uses the contract": ("grant_service/rpc/a.py", "from countermand.v1 import errors_pb2\nimport grpc"),
    "testing starts a sidecar": (
        "client/countermand/testing/__init__.py",
        "def f():\n    import grant_service.app",
    ),
    "evidence is verified": ("client/countermand/evidence.py", "def f():\n    import cryptography.x509"),
    "cli starts a sidecar": ("client/countermand/cli/serve.py", "def f():\n    import grant_service.app"),
    "cli uses typer": ("client/countermand/cli/a.py", "import typer\nfrom rich.table import Table"),
    "a name that only begins alike": ("client/countermand/a.py", "import redistribute, richly"),
}


def test_this_tree_keeps_the_rules() -> None:
    """No module imports what its part of the tree may not."""
    assert script("check_imports.py").stderr == ""


@pytest.mark.parametrize(("name", "text"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_import_is_named(tmp_path: Path, name: str, text: str) -> None:
    """A planted violation fails the check, which names the file and the line."""
    write(tmp_path, name, text)
    done = script("check_imports.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"check_imports: {name}:{len(text.splitlines())}: may not import ")


@pytest.mark.parametrize(("name", "text"), ALLOWED.values(), ids=ALLOWED)
def test_an_allowed_import_passes(tmp_path: Path, name: str, text: str) -> None:
    """The rules do not refuse what the layout needs."""
    write(tmp_path, name, text)
    assert script("check_imports.py", tmp_path).stderr == ""


def test_importing_the_client_loads_nothing_of_the_service() -> None:
    """What the rules say of source holds at run time, through every indirection."""
    heavy = ["redis", "jwt", "cryptography", "pydantic", "structlog", "typer", "rich", "grant_service"]
    code = f"import countermand, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run(ROOT / ".venv/bin/python", "-c", code).stdout == "[]\n"
