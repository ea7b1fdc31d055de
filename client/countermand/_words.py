"""The words of the contract: its enums, with the same members in the same order, as plain strings."""

from enum import StrEnum


class RunState(StrEnum):
    """Where a run is in its life."""

    UNSPECIFIED = "UNSPECIFIED"
    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    FINISHED = "FINISHED"


class ActionState(StrEnum):
    """Where an action is in its life. UNKNOWN is a finding: it may have happened."""

    UNSPECIFIED = "UNSPECIFIED"
    PREPARED = "PREPARED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    DENIED = "DENIED"
    PERMITTED = "PERMITTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    ABANDONED = "ABANDONED"
    INTERRUPTED = "INTERRUPTED"
    EXPIRED = "EXPIRED"
    UNDO_PENDING = "UNDO_PENDING"
    UNDONE = "UNDONE"
    UNDO_FAILED = "UNDO_FAILED"


class Outcome(StrEnum):
    """What a tool says became of a permitted action."""

    UNSPECIFIED = "UNSPECIFIED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class Reversibility(StrEnum):
    """What can be done about an effect afterwards: declared by who integrates the tool, not by the model."""

    UNSPECIFIED = "UNSPECIFIED"
    READ_ONLY = "READ_ONLY"
    REVERSIBLE = "REVERSIBLE"
    COMPENSABLE = "COMPENSABLE"
    IRREVERSIBLE = "IRREVERSIBLE"


class StopReason(StrEnum):
    """Why a run was stopped."""

    UNSPECIFIED = "UNSPECIFIED"
    USER_STOP = "USER_STOP"
    CLIENT_DISCONNECTED = "CLIENT_DISCONNECTED"
    DEADLINE = "DEADLINE"
    BUDGET = "BUDGET"
    PARENT_CANCELLED = "PARENT_CANCELLED"
    INCIDENT = "INCIDENT"
    POLICY = "POLICY"
    SUPERSEDED = "SUPERSEDED"
    RUN_FINISHED = "RUN_FINISHED"
    STORE_EPOCH = "STORE_EPOCH"


class Exhaustion(StrEnum):
    """What happens when more is asked of a budget than it has left; take UNSPECIFIED for CANCEL."""

    UNSPECIFIED = "UNSPECIFIED"
    CANCEL = "CANCEL"
    REFUSE = "REFUSE"


class FenceKind(StrEnum):
    """What a fence does: both kill what was issued before it, a freeze blocks what comes later too."""

    UNSPECIFIED = "UNSPECIFIED"
    REVOKE = "REVOKE"
    FREEZE = "FREEZE"


class FenceState(StrEnum):
    """What a fence still does. What it killed stays dead in every state."""

    UNSPECIFIED = "UNSPECIFIED"
    STANDING = "STANDING"
    LIFTED = "LIFTED"
    EXPIRED = "EXPIRED"


class Durability(StrEnum):
    """What an acknowledged decision survives; take UNSPECIFIED for VOLATILE."""

    UNSPECIFIED = "UNSPECIFIED"
    SYNCED = "SYNCED"
    EVERY_SECOND = "EVERY_SECOND"
    VOLATILE = "VOLATILE"


class CallOffState(StrEnum):
    """What became of calling off a job that the outside world had accepted."""

    UNSPECIFIED = "UNSPECIFIED"
    NOT_TRIED = "NOT_TRIED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    REFUSED = "REFUSED"
    UNREACHABLE = "UNREACHABLE"
    IMPOSSIBLE = "IMPOSSIBLE"


class DutyKind(StrEnum):
    """What a compensator is to do about an action: undo it, call it off, or ask what became of it."""

    UNSPECIFIED = "UNSPECIFIED"
    UNDO = "UNDO"
    CALL_OFF = "CALL_OFF"
    ASK = "ASK"


class DutyState(StrEnum):
    """Where a duty is in its life."""

    UNSPECIFIED = "UNSPECIFIED"
    OPEN = "OPEN"
    DONE = "DONE"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    WITHDRAWN = "WITHDRAWN"
    MOOT = "MOOT"


class ErrorReason(StrEnum):
    """Why a call was refused. UNSPECIFIED: no reason was given, or this client found the fault itself."""

    UNSPECIFIED = "UNSPECIFIED"

    INVALID_REQUEST = "INVALID_REQUEST"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    VERB_NOT_SERVED = "VERB_NOT_SERVED"
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 - a reason
    TOKEN_TOO_LARGE = "TOKEN_TOO_LARGE"  # noqa: S105 - a reason
    TOKEN_MALFORMED = "TOKEN_MALFORMED"  # noqa: S105 - a reason
    TOKEN_UNTRUSTED = "TOKEN_UNTRUSTED"  # noqa: S105 - a reason
    WRONG_AUDIENCE = "WRONG_AUDIENCE"
    WRONG_GRANT = "WRONG_GRANT"
    RUN_UNKNOWN = "RUN_UNKNOWN"
    RUN_EXISTS = "RUN_EXISTS"
    RUN_TOO_DEEP = "RUN_TOO_DEEP"
    GRANT_EXISTS = "GRANT_EXISTS"
    ACTION_UNKNOWN = "ACTION_UNKNOWN"
    OP_ID_CONFLICT = "OP_ID_CONFLICT"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    ALREADY_PERMITTED = "ALREADY_PERMITTED"
    ALREADY_SETTLED = "ALREADY_SETTLED"
    ACTION_ABANDONED = "ACTION_ABANDONED"
    NEVER_PERMITTED = "NEVER_PERMITTED"
    PREPARE_EXPIRED = "PREPARE_EXPIRED"
    ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
    GRANT_TOO_WIDE = "GRANT_TOO_WIDE"
    GRANT_TOO_DEEP = "GRANT_TOO_DEEP"
    GRANT_SEALED = "GRANT_SEALED"
    FENCE_EXISTS = "FENCE_EXISTS"
    FENCE_UNKNOWN = "FENCE_UNKNOWN"
    FENCE_NOT_LIFTABLE = "FENCE_NOT_LIFTABLE"
    NOT_AWAITING = "NOT_AWAITING"

    REVOKED = "REVOKED"
    RUN_FINISHED = "RUN_FINISHED"
    RUN_DEADLINE = "RUN_DEADLINE"
    STORE_EPOCH = "STORE_EPOCH"
    GRANT_UNKNOWN = "GRANT_UNKNOWN"
    GRANT_EXPIRED = "GRANT_EXPIRED"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    USES_EXHAUSTED = "USES_EXHAUSTED"
    RUN_FULL = "RUN_FULL"
    FENCED = "FENCED"
    GRANT_ENDED = "GRANT_ENDED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    DENIED = "DENIED"
    TREE_FULL = "TREE_FULL"

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    TIMED_OUT = "TIMED_OUT"
    OVERLOADED = "OVERLOADED"
    DRAINING = "DRAINING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"

    STORE_FULL = "STORE_FULL"
    CLOCK_UNSURE = "CLOCK_UNSURE"
    STORE_UNFIT = "STORE_UNFIT"
    INTERNAL = "INTERNAL"

    RUN_ACTIVE = "RUN_ACTIVE"
    NOT_UNDOABLE = "NOT_UNDOABLE"
    IN_FLIGHT = "IN_FLIGHT"
    DUTY_UNKNOWN = "DUTY_UNKNOWN"
    DUTY_NOT_DUE = "DUTY_NOT_DUE"
    DUTY_TAKEN = "DUTY_TAKEN"
    DUTY_OVER = "DUTY_OVER"
    LEASE_LOST = "LEASE_LOST"
    TOOL_MISMATCH = "TOOL_MISMATCH"
