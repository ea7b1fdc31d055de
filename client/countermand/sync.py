# Derived from client/countermand/__init__.py by scripts/unasync.py. Do not edit.
"""Countermand: authority for AI agents that can be taken back.

    with countermand.connect() as cm:
        with cm.open_run(subject="u-7", agent="mailer") as run:
            with run.grant(scopes=["email.*"], ttl="60s"):
                with countermand.action("email.send", resource="mailto:a@b.com", args=args) as act:
                    draft = compose(args)
                    with act.commit():
                        act.receipt = mailbox.send(draft)

The same names, blocking: `import countermand.sync as countermand`.
"""
# ruff: noqa: RUF022 - grouped by what the names are for

from countermand._digest import digest
from countermand._errors import (
    AlreadyPermitted,
    AlreadySettled,
    ApprovalTimedOut,
    AskOperator,
    AuthorityEnded,
    AwaitingApproval,
    BudgetExhausted,
    Conflict,
    CountermandError,
    Denied,
    DigestMismatch,
    DutyOver,
    Exhausted,
    Expired,
    Fenced,
    FixTheCall,
    GiveUp,
    GrantEnded,
    GrantUnknown,
    InFlight,
    InvalidRequest,
    LeaseLost,
    NoGrant,
    NotAllowed,
    NotDone,
    NotFound,
    NotRunning,
    NotSent,
    NotUndoable,
    OutOfScope,
    Overloaded,
    PermitLapsed,
    Refused,
    Revoked,
    RunActive,
    RunDeadline,
    RunEnded,
    RunFinished,
    Stopped,
    StopTheRun,
    StoreEpoch,
    TimedOut,
    TooLate,
    TryAgain,
    Unavailable,
    WorkerDied,
)
from countermand._events import CommitRefused, ScopeStopped, SessionChanged, WorkUnstopped, on_event
from countermand._models.actions import Abandoned, Intent, Permit, Prepared, Settled, Spent
from countermand._models.approvals import (
    ActionApproved,
    ActionDenied,
    Approval,
    ApprovalPage,
    PendingApproval,
)
from countermand._models.budgets import Budget, BudgetStanding
from countermand._models.duties import (
    ActionResolved,
    Duty,
    DutyCompleted,
    DutyFailed,
    DutyStep,
    Finding,
    Progress,
    UndoAsked,
    UndoStep,
    UndoWithdrawn,
)
from countermand._models.fences import (
    Explanation,
    Fence,
    FenceLifted,
    FenceSet,
    FenceStanding,
    Hit,
    HitRow,
    HitRun,
    Selector,
)
from countermand._models.reports import (
    CallOff,
    Cancelled,
    Entry,
    EntryPage,
    EvidenceKey,
    LateAttempt,
    Report,
    ReportedAction,
    SignedHead,
    Undo,
)
from countermand._models.runs import (
    ChildRun,
    Delegated,
    End,
    Extended,
    Finished,
    Grant,
    Issued,
    Opened,
    Run,
    RunPage,
)
from countermand._models.work import RunWork, ShownWork
from countermand._registry import Registry, canceller, compensation, probe
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._sync.action import Action, Commit, action
from countermand._sync.client import Client, connect
from countermand._sync.compensator import Compensator, compensator
from countermand._sync.delegation import delegate, delegate_run, spend
from countermand._sync.file_write import StagedFile, staged_file, write_file
from countermand._sync.grant import CurrentGrant, current_grant
from countermand._sync.guard import GuardedStream, guard
from countermand._sync.perform import Performance, perform
from countermand._sync.run import ActiveRun
from countermand._sync.token_budget import TokenBudget, token_budget
from countermand._sync.token_request import TokenRequest
from countermand._sync.transaction import Transaction, transaction
from countermand._tool import tool
from countermand._words import (
    ActionState,
    CallOffState,
    Durability,
    DutyKind,
    DutyState,
    ErrorReason,
    Exhaustion,
    FenceKind,
    FenceState,
    Outcome,
    Reversibility,
    RunState,
    StopReason,
)
from countermand.streams.price import Price
from countermand.streams.usage import Usage, usage_of
from countermand.work.blocking import Work, WorkScope, current_scope, scope
from countermand.work.owner import StopSource
from countermand.work.receipt import StopReceipt, WorkFailure
from countermand.work.stop import Stop, StopCause
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkNode, WorkState

__all__ = [
    # connect, and open a run
    "connect",
    "Client",
    "ActiveRun",
    "CurrentGrant",
    "current_grant",
    # pass a side effect through prepare and commit
    "action",
    "perform",
    "Action",
    "Commit",
    "Performance",
    "transaction",
    "Transaction",
    "write_file",
    "staged_file",
    "StagedFile",
    # own what is started in this process, and stop it
    "scope",
    "current_scope",
    "WorkScope",
    "Work",
    "CancellationToken",
    "StopSource",
    "Stop",
    "StopCause",
    "StopReceipt",
    "WorkFailure",
    "WorkNode",
    "WorkerDied",
    "WorkState",
    # hear of what happens here, to count or trace it
    "on_event",
    "ScopeStopped",
    "SessionChanged",
    "WorkUnstopped",
    "CommitRefused",
    # read a model's stream until a stop, and count its tokens
    "guard",
    "GuardedStream",
    "Usage",
    "usage_of",
    "token_budget",
    "TokenBudget",
    "TokenRequest",
    "Price",
    # hand on part of a grant, and take from a budget
    "delegate",
    "delegate_run",
    "spend",
    # say what a grant allows, and how much
    "Scope",
    "SecretToken",
    "Budget",
    "ChildRun",
    # say what a fence stands over
    "Selector",
    # let a function run only under a permit
    "tool",
    "NotSent",
    # register what undoes an effect, calls it off, or knows what became of it; and run that
    "Registry",
    "compensation",
    "canceller",
    "probe",
    "compensator",
    "Compensator",
    "Duty",
    "DutyStep",
    "Progress",
    "Finding",
    "Refused",
    "NotDone",
    "GiveUp",
    # describe an effect
    "Intent",
    "digest",
    # what is answered
    "Abandoned",
    "Permit",
    "Prepared",
    "Settled",
    "Spent",
    "Approval",
    "Cancelled",
    "Entry",
    "EntryPage",
    "EvidenceKey",
    "RunWork",
    "ShownWork",
    "SignedHead",
    "LateAttempt",
    "Report",
    "ReportedAction",
    "Undo",
    "CallOff",
    "UndoAsked",
    "UndoStep",
    "UndoWithdrawn",
    "ActionResolved",
    "DutyCompleted",
    "DutyFailed",
    "Explanation",
    "ApprovalPage",
    "PendingApproval",
    "ActionApproved",
    "ActionDenied",
    "Fence",
    "FenceLifted",
    "FenceSet",
    "FenceStanding",
    "Hit",
    "HitRow",
    "HitRun",
    "BudgetStanding",
    "Delegated",
    "Extended",
    "End",
    "Finished",
    "Grant",
    "Issued",
    "Opened",
    "Run",
    "RunPage",
    # the contract's words
    "ActionState",
    "CallOffState",
    "Durability",
    "DutyKind",
    "DutyState",
    "ErrorReason",
    "Exhaustion",
    "FenceKind",
    "FenceState",
    "Outcome",
    "Reversibility",
    "RunState",
    "StopReason",
    # errors: any of them
    "CountermandError",
    # fix the call
    "FixTheCall",
    "InvalidRequest",
    "NotAllowed",
    "NoGrant",
    "NotFound",
    "Conflict",
    "AlreadyPermitted",
    "AlreadySettled",
    "DigestMismatch",
    "RunActive",
    "NotUndoable",
    "DutyOver",
    "TooLate",
    "PermitLapsed",
    # stop the run
    "StopTheRun",
    "Stopped",
    "AuthorityEnded",
    "RunEnded",
    "Revoked",
    "RunFinished",
    "RunDeadline",
    "StoreEpoch",
    "Fenced",
    "GrantEnded",
    "GrantUnknown",
    "Expired",
    "OutOfScope",
    "Exhausted",
    "BudgetExhausted",
    "Denied",
    "ApprovalTimedOut",
    "LeaseLost",
    # try again, with the same op_id
    "TryAgain",
    "Unavailable",
    "NotRunning",
    "TimedOut",
    "Overloaded",
    "AwaitingApproval",
    "InFlight",
    # ask an operator
    "AskOperator",
]

for _name in __all__:
    if isinstance(_kind := globals()[_name], type) and issubclass(_kind, Exception):
        _kind.__module__ = "countermand"  # so that a traceback names it as it is imported
