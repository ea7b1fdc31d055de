"""What the package offers: names, kinds, words, and what importing it costs."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest

import countermand
import countermand.sync
import countermand.testing
from countermand import _errors as errors
from countermand._rpcs import Rpc
from countermand._wire import ENUMS
from countermand.v1 import (
    action_service_pb2,
    control_service_pb2,
    errors_pb2,
    grant_service_pb2,
    journal_service_pb2,
    undo_service_pb2,
)
from tests.build.support import run

OWN = ["Action", "ActiveRun", "Client", "Commit", "Compensator", "CurrentGrant", "GuardedStream"]
OWN += ["Performance", "action", "compensator", "connect", "current_grant", "delegate", "delegate_run"]
OWN += ["guard", "perform", "spend", "Work", "WorkScope", "current_scope", "scope"]
OWN += ["TokenBudget", "TokenRequest", "token_budget", "Transaction", "transaction"]
OWN += ["StagedFile", "staged_file", "write_file"]
SHARED = [
    *("Abandoned", "ActionApproved", "ActionDenied", "ActionState", "AlreadyPermitted"),
    *("AlreadySettled", "Approval", "ApprovalPage", "ApprovalTimedOut", "AskOperator", "AuthorityEnded"),
    *("AwaitingApproval", "Budget", "BudgetExhausted", "BudgetStanding", "Cancelled", "ChildRun"),
    *(
        "Conflict",
        "CountermandError",
        "Delegated",
        "Denied",
        "DigestMismatch",
        "Durability",
        "End",
        "Extended",
    ),
    *("Entry", "EntryPage", "ErrorReason", "Exhausted", "Exhaustion", "Expired", "Explanation"),
    *("EvidenceKey", "SignedHead", "RunWork", "ShownWork"),
    *("Fence", "FenceKind", "FenceLifted", "FenceSet", "FenceStanding", "FenceState", "Fenced"),
    *("Finished", "FixTheCall", "Grant", "GrantEnded", "GrantUnknown", "Hit", "HitRow", "HitRun"),
    *("Intent", "InvalidRequest", "Issued", "LateAttempt", "NoGrant", "NotAllowed", "NotFound"),
    *("NotRunning", "NotSent", "Opened", "OutOfScope", "Outcome", "Overloaded", "PendingApproval"),
    *("Permit", "PermitLapsed", "Prepared", "Report", "ReportedAction", "Reversibility", "Revoked"),
    *("Run", "RunDeadline", "RunEnded", "RunFinished", "RunPage", "RunState", "Scope", "SecretToken"),
    *("Selector", "Settled", "Spent", "StopReason", "StopTheRun", "StoreEpoch", "TimedOut", "TooLate"),
    *("TryAgain", "Unavailable", "Undo", "digest", "tool"),
    *("ActionResolved", "CallOff", "CallOffState", "Duty", "DutyCompleted", "DutyFailed", "DutyKind"),
    *("DutyOver", "DutyState", "DutyStep", "Finding", "GiveUp", "InFlight", "LeaseLost", "NotDone"),
    *("NotUndoable", "Progress", "Refused", "Registry", "RunActive", "UndoAsked", "UndoStep"),
    *("UndoWithdrawn", "canceller", "compensation", "probe"),
    *("CancellationToken", "Stop", "StopCause", "StopReceipt", "StopSource", "Stopped", "WorkFailure"),
    *("WorkNode", "WorkState", "WorkerDied"),
    *("Price", "Usage", "usage_of"),
    *("CommitRefused", "ScopeStopped", "SessionChanged", "WorkUnstopped", "on_event"),
]


@pytest.mark.parametrize("module", [countermand, countermand.sync])
def test_the_exports_are_these(module: ModuleType) -> None:
    """To add or drop one is a decision; this list is where it shows."""
    assert sorted(module.__all__) == sorted([*OWN, *SHARED])
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, name).__doc__ for name in module.__all__)


def test_both_clients_share_their_values_and_errors() -> None:
    """An error of one is caught by the name of the other; what does the work differs."""
    assert all(getattr(countermand, name) is getattr(countermand.sync, name) for name in SHARED)
    assert all(getattr(countermand, name) is not getattr(countermand.sync, name) for name in OWN)


def test_errors_are_named_as_they_are_imported() -> None:
    """A traceback shows the name to write in an except clause."""
    kinds = [kind for name in SHARED if isinstance(kind := getattr(countermand, name), type)]

    assert {kind.__module__ for kind in kinds if issubclass(kind, Exception)} == {"countermand"}


def test_every_reason_of_the_contract_has_its_exception() -> None:
    """The table is complete, and in the contract's order: fix the call, stop, try again, ask an operator.

    Those about undo come last, and are for the most part calls to fix.
    """
    about_undo = {"IN_FLIGHT": errors.TryAgain, "LEASE_LOST": errors.StopTheRun}
    assert list(errors.CLASSES) == list(countermand.ErrorReason)
    for reason, kind in errors.CLASSES.items():
        number = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
        parent = next(
            parent
            for start, parent in (
                (80, about_undo.get(reason, errors.FixTheCall)),
                (70, errors.AskOperator),
                (50, errors.TryAgain),
                (30, errors.StopTheRun),
                (1, errors.FixTheCall),
                (0, errors.AskOperator),
            )
            if number >= start
        )
        assert issubclass(kind, parent), reason


def test_every_exception_has_one_way_on() -> None:
    """Each is of exactly one of the four kinds."""
    kinds = (errors.FixTheCall, errors.StopTheRun, errors.TryAgain, errors.AskOperator)
    for name in SHARED:
        kind = getattr(countermand, name)
        if isinstance(kind, type) and issubclass(kind, countermand.CountermandError):
            expected = 0 if kind is countermand.CountermandError else 1
            assert sum(issubclass(kind, parent) for parent in kinds) == expected, name


def test_the_words_are_the_contracts() -> None:
    """Same members, same order."""
    for ours, (theirs, prefix) in ENUMS.items():
        assert [f"{prefix}{member}" for member in ours] == list(theirs.keys())
        assert all(member.name == member.value for member in ours)


def test_every_call_is_in_the_contract() -> None:
    """Its path, its request and its response."""
    from countermand import _rpcs

    files = (
        *(grant_service_pb2, action_service_pb2, control_service_pb2),
        *(journal_service_pb2, undo_service_pb2),
    )
    services = {name: service for file in files for name, service in file.DESCRIPTOR.services_by_name.items()}
    calls = [value for value in vars(_rpcs).values() if isinstance(value, Rpc)]

    assert len(calls) == 36
    for call in calls:
        method = services[call.service].methods_by_name[call.name]
        assert call.path == f"/{services[call.service].full_name}/{method.name}"
        assert call.request.DESCRIPTOR is method.input_type
        assert call.response.DESCRIPTOR is method.output_type
        assert call.streams == method.server_streaming


def test_an_error_survives_a_process_boundary() -> None:
    """Workers hand their exceptions over as pickles."""
    metadata = {"run": "r-2", "stop_reason": "USER_STOP"}
    error = countermand.Revoked("stop", reason=countermand.ErrorReason.REVOKED, metadata=metadata)

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(copied), str(copied), copied.reason) == (countermand.Revoked, "stop", "REVOKED")
    assert (copied.run_id, copied.stop_reason) == ("r-2", countermand.StopReason.USER_STOP)


def test_importing_it_loads_nothing_of_the_service_or_the_command_line() -> None:
    """A tool keeps its own versions of all of these."""
    heavy = [
        "cryptography",
        "grant_service",
        "jwt",
        "prometheus_client",
        "pydantic",
        "pytest",
        "redis",
        "rich",
        "structlog",
        "typer",
    ]
    code = f"import sys, countermand, countermand.sync; print([m for m in {heavy} if m in sys.modules])"

    assert run(sys.executable, "-c", code).stdout == "[]\n"


def test_importing_it_costs_less_than_importing_grpc(tmp_path: Path) -> None:
    """Counted in CPU time, so that a busy machine does not matter; the best of three, bytecode at hand."""
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    code = """
import time
start = time.process_time()
import asyncio, grpc, grpc_status.rpc_status, google.protobuf.duration_pb2, google.protobuf.timestamp_pb2
between = time.process_time()
import countermand
print((time.process_time() - between) / (between - start))
"""
    assert min(float(run(sys.executable, "-c", code, **compiled).stdout) for _ in range(4)) < 1.0


def test_the_types_are_what_users_are_promised() -> None:
    """A file that uses the interface passes mypy in strict mode, and its wrong uses are errors."""
    done = run(
        sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/typing/client_api.py"
    )

    assert done.returncode == 0, done.stdout


def test_the_shipped_fixtures_work_in_a_project_of_ones_own(tmp_path: Path) -> None:
    """One line in conftest.py; async or not, with a clock that stands or one that runs."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["countermand.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(MINE)

    done = run(sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", tmp_path, tmp_path)

    assert "4 passed" in done.stdout, done.stdout + done.stderr


MINE = """
import asyncio
import pytest
import countermand
import countermand.sync


@countermand.tool("email.send")
def send(to):
    return to


def test_stop(countermand_sidecar):
    with countermand.sync.connect() as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.*"]):
            assert send("a") == "a"
            run.cancel()
            with pytest.raises(countermand.Revoked):
                send("b")


def test_expiry(countermand_clock, countermand_sidecar):
    with countermand_sidecar.connect_sync() as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["email.*"], ttl="60s"):
            send("a")
            countermand_clock.advance("61s")
            with pytest.raises(countermand.Expired):
                send("b")


def test_async(countermand_sidecar):
    async def agent():
        async with countermand_sidecar.connect() as cm, cm.open_run(agent="mailer") as run:
            with run.grant(scopes=["email.*"]):
                return await asyncio.to_thread(send, "a")

    assert asyncio.run(agent()) == "a"


def test_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("COUNTERMAND_HOME", str(tmp_path / "h"))
    with countermand.sync.connect() as cm, pytest.raises(countermand.NotRunning):
        cm.issuer.open()
"""


def test_a_missing_service_is_said_in_one_line() -> None:
    """countermand.testing needs the extra; it says so where it is started, not where it is imported."""
    code = """
import sys
sys.modules["grant_service"] = None
import countermand.testing
try:
    countermand.testing.sidecar().start()
except ModuleNotFoundError as error:
    print(error)
"""
    done = run(sys.executable, "-c", code)

    assert "pip install 'countermand[service]'" in done.stdout, done.stderr


async def test_a_sidecar_starts_in_an_async_block_too() -> None:
    """And leaves nothing behind."""
    async with countermand.testing.sidecar(permit_use=1) as real, real.connect() as cm:
        await cm.issuer.open(run_id="r-1")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        permit = await cm.tool.perform(token, countermand.Intent.of("a.b"))
        assert 0 < permit.remaining <= 1
        assert real.home.exists()

    assert not real.home.exists()


def test_a_sidecar_that_cannot_start_says_why() -> None:
    """The settings are those of the service, and so are its complaints."""
    with pytest.raises(ValueError, match="grant_ttl_max"):
        countermand.testing.sidecar(grant_ttl_max=10_000).start()
