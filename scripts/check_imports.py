"""Check which part of the tree may import what, and name file, line and rule of each violation.

The rules are the table below. Imports are read from the syntax tree, so nothing is executed. An import under
`if TYPE_CHECKING:` counts like any other: a type is a dependency too.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = (
    "http",
    "aiohttp",
    "flask",
    "fastapi",
    "httpx",
    "httpx2",
    "requests",
    "starlette",
    "uvicorn",
    "wsgiref",
)


@dataclass(frozen=True)
class Rule:
    """Files under `where` (but not under `unless`) may not import `forbidden` (but may import `allowed`)."""

    where: str
    forbidden: tuple[str, ...]
    why: str
    unless: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    also_inside_functions: bool = True


RULES = [
    Rule(
        where="grant_service/core",
        forbidden=("grpc", "grpc_status", "grpc_health", "google", "redis", "countermand", "jwt", *WEB),
        why="core decides; it knows no transport, no driver and no wire format",
    ),
    Rule(
        where="grant_service/core",
        forbidden=("grant_service",),
        allowed=("grant_service.core",),
        why="core is the innermost layer",
    ),
    Rule(
        where="grant_service",
        forbidden=("countermand",),
        allowed=("countermand.v1",),
        why="of the client, the service uses the contract only",
    ),
    *(
        Rule(
            where="client/countermand",
            unless=(f"client/countermand/integrations/{queue}",),
            forbidden=(queue,),
            why="only the adapter of the same name knows this queue",
        )
        for queue in ("arq", "celery", "dramatiq", "taskiq")
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/integrations/taskiq",),
        forbidden=("redis",),
        why="tools install the client beside other libraries: it needs grpcio and protobuf only",
    ),
    Rule(
        where="client/countermand",
        forbidden=(
            "jwt",
            "pydantic",
            "pydantic_settings",
            "structlog",
            "grpc_health",
        ),
        why="tools install the client beside other libraries: it needs grpcio and protobuf only",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/evidence.py",),
        forbidden=("cryptography",),
        why="only the verifier of evidence needs it, by the extra `verify`",
    ),
    Rule(
        where="client/countermand",
        forbidden=("cryptography",),
        also_inside_functions=False,
        why="it must import without the extra `verify`: import cryptography in the function that needs it",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/testing", "client/countermand/cli"),
        forbidden=("grant_service",),
        why="the client knows the service by its contract; only testing/ and cli/ start one",
    ),
    Rule(
        where="client/countermand",
        forbidden=("grant_service",),
        also_inside_functions=False,
        why="it must import without the extra `service`: import grant_service in the function that needs it",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/cli",),
        forbidden=("typer", "rich", "click"),
        why="typer and rich belong to the extra `cli`",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/integrations/sqlalchemy",),
        forbidden=("sqlalchemy",),
        why="sqlalchemy belongs to the extra of its integration",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/integrations/prometheus.py",),
        forbidden=("prometheus_client",),
        why="only who asks for its counters needs it, by the extra `prometheus`",
    ),
    Rule(
        where="client/countermand/integrations/_http",
        forbidden=(*WEB, "boto3", "botocore", "urllib3"),
        why="it is the rules of all HTTP clients alike; each library's own file adapts it",
    ),
    Rule(
        where="client/countermand/integrations/asgi",
        forbidden=("starlette", "fastapi", "uvicorn", "hypercorn", "anyio"),
        why="it is plain ASGI, for every framework alike",
    ),
    Rule(
        where="client/countermand",
        unless=("client/countermand/cli", "client/countermand/integrations"),
        forbidden=("countermand.cli", "countermand.integrations"),
        why="importing countermand must load neither the command line nor an integration",
    ),
]


@dataclass(frozen=True)
class Import:
    """One imported module, absolute, and where it is written."""

    module: str
    line: int
    inside_function: bool


def imports(tree: ast.AST, package: str, inside_function: bool = False) -> Iterator[Import]:
    """Every import below `tree`, a module of `package`; `from a import b` counts as `a.b`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, package, inside_function or function)
            continue
        for name in names:
            yield Import(name, node.lineno, inside_function)


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that a `from` statement reads."""
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])


def violations(root: Path) -> Iterator[str]:
    """One line for each import that a rule forbids."""
    for path in sorted([*root.glob("grant_service/**/*.py"), *root.glob("client/**/*.py")]):
        name = path.relative_to(root).as_posix()
        rules = [rule for rule in RULES if _under(name, (rule.where,)) and not _under(name, rule.unless)]
        package = ".".join(path.relative_to(root).parent.parts).removeprefix("client.")
        for found in imports(ast.parse(path.read_text(encoding="utf-8"), name), package):
            for rule in rules:
                if _forbids(rule, found):
                    yield f"{name}:{found.line}: may not import {found.module}: {rule.why}"


def _under(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _forbids(rule: Rule, found: Import) -> bool:
    if found.inside_function and not rule.also_inside_functions:
        return False
    return _in(found.module, rule.forbidden) and not _in(found.module, rule.allowed)


def _in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def main() -> int:
    """Command line: the checkout to look at (default: this one)."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    problems = list(violations(root))
    for problem in problems:
        print(f"check_imports: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
