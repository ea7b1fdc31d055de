"""Countermand: authority for AI agents that can be taken back.

    async with countermand.connect() as cm:
        async with cm.open_run(subject="u-7", agent="mailer") as run:
            with run.grant(scopes=["email.*"], ttl="60s"):
                async with countermand.action("email.send", resource="mailto:a@b.com", args=args) as act:
                    draft = compose(args)
                    async with act.commit():
                        act.receipt = await mailbox.send(draft)

The same names, blocking: `import countermand.sync as countermand`.
"""
# ruff: noqa: RUF022 - grouped by what the names are for

from countermand._async.action import Action, Commit, Performance, action, perform
from countermand._async.client import Client, connect
from countermand._async.grant import CurrentGrant, current_grant
from countermand._async.run import ActiveRun
from countermand._digest import digest
from countermand._errors import (
    AlreadyPermitted,
    AlreadySettled,
    AskOperator,
    Conflict,
    CountermandError,
    DigestMismatch,
    Exhausted,
    Expired,
    FixTheCall,
    GrantUnknown,
    InvalidRequest,
    NoGrant,
    NotAllowed,
    NotFound,
    NotRunning,
    NotSent,
    OutOfScope,
    Overloaded,
    PermitLapsed,
    Revoked,
    RunDeadline,
    RunEnded,
    RunFinished,
    StopTheRun,
    StoreEpoch,
    TimedOut,
    TooLate,
    TryAgain,
    Unavailable,
)
from countermand._models.actions import Abandoned, Intent, Permit, Prepared, Settled
from countermand._models.reports import Cancelled, Entry, EntryPage, LateAttempt, Report, ReportedAction, Undo
from countermand._models.runs import End, Finished, Grant, Issued, Opened, Run, RunPage
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._tool import tool
from countermand._words import (
    ActionState,
    Durability,
    ErrorReason,
    Outcome,
    Reversibility,
    RunState,
    StopReason,
)

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
    # say what a grant allows
    "Scope",
    "SecretToken",
    # let a function run only under a permit
    "tool",
    "NotSent",
    # describe an effect
    "Intent",
    "digest",
    # what is answered
    "Abandoned",
    "Permit",
    "Prepared",
    "Settled",
    "Cancelled",
    "Entry",
    "EntryPage",
    "LateAttempt",
    "Report",
    "ReportedAction",
    "Undo",
    "End",
    "Finished",
    "Grant",
    "Issued",
    "Opened",
    "Run",
    "RunPage",
    # the contract's words
    "ActionState",
    "Durability",
    "ErrorReason",
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
    "TooLate",
    "PermitLapsed",
    # stop the run
    "StopTheRun",
    "RunEnded",
    "Revoked",
    "RunFinished",
    "RunDeadline",
    "StoreEpoch",
    "GrantUnknown",
    "Expired",
    "OutOfScope",
    "Exhausted",
    # try again, with the same op_id
    "TryAgain",
    "Unavailable",
    "NotRunning",
    "TimedOut",
    "Overloaded",
    # ask an operator
    "AskOperator",
]

for _name in __all__:
    if isinstance(_kind := globals()[_name], type) and issubclass(_kind, Exception):
        _kind.__module__ = "countermand"  # so that a traceback names it as it is imported
