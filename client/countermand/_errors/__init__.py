"""What can go wrong, by what the caller does next: fix the call, stop the run, try again, ask an operator.

Every error carries the sidecar's `reason` and `metadata`; programs read those, people read the message. None
ever carries a token.
"""

from countermand._errors.base import CountermandError, NotSent
from countermand._errors.fix import (
    AlreadyPermitted,
    AlreadySettled,
    Conflict,
    DigestMismatch,
    FixTheCall,
    InvalidRequest,
    NoGrant,
    NotAllowed,
    NotFound,
    PermitLapsed,
    TooLate,
)
from countermand._errors.stop import (
    ApprovalTimedOut,
    AuthorityEnded,
    BudgetExhausted,
    Denied,
    Exhausted,
    Expired,
    Fenced,
    GrantEnded,
    GrantUnknown,
    OutOfScope,
    Revoked,
    RunDeadline,
    RunEnded,
    RunFinished,
    StopTheRun,
    StoreEpoch,
)
from countermand._errors.table import CLASSES
from countermand._errors.unknown import (
    AskOperator,
    AwaitingApproval,
    NotRunning,
    Overloaded,
    TimedOut,
    TryAgain,
    Unavailable,
)

__all__ = [
    "CLASSES",
    "AlreadyPermitted",
    "AlreadySettled",
    "ApprovalTimedOut",
    "AskOperator",
    "AuthorityEnded",
    "AwaitingApproval",
    "BudgetExhausted",
    "Conflict",
    "CountermandError",
    "Denied",
    "DigestMismatch",
    "Exhausted",
    "Expired",
    "Fenced",
    "FixTheCall",
    "GrantEnded",
    "GrantUnknown",
    "InvalidRequest",
    "NoGrant",
    "NotAllowed",
    "NotFound",
    "NotRunning",
    "NotSent",
    "OutOfScope",
    "Overloaded",
    "PermitLapsed",
    "Revoked",
    "RunDeadline",
    "RunEnded",
    "RunFinished",
    "StopTheRun",
    "StoreEpoch",
    "TimedOut",
    "TooLate",
    "TryAgain",
    "Unavailable",
]
