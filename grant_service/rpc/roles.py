"""Who may call what: one role for each listener, one table, and everything else denied."""

from enum import StrEnum


class Role(StrEnum):
    """Who a caller is: the listener it came in by says so."""

    ISSUER = "issuer"
    TOOL = "tool"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    COMPENSATOR = "compensator"


_ISSUER = frozenset({Role.ISSUER})
_TOOL = frozenset({Role.TOOL})
_OPERATOR = frozenset({Role.OPERATOR})
_COMPENSATOR = frozenset({Role.COMPENSATOR})
_READERS = frozenset({Role.OPERATOR, Role.AUDITOR})

#: The roles that may call each RPC. A tool can never cancel, issue or read a run, but hand on, narrowed, what
#: it holds; the owner of a run may stop it and read its report.
ALLOWED: dict[str, frozenset[Role]] = {
    "GrantService.OpenRun": _ISSUER,
    "GrantService.IssueGrant": _ISSUER,
    "GrantService.DelegateGrant": _ISSUER | _TOOL,
    "GrantService.ExtendGrant": _ISSUER,
    "GrantService.FinishRun": _ISSUER,
    "ActionService.PrepareAction": _TOOL,
    "ActionService.CommitAction": _TOOL,
    "ActionService.PerformAction": _TOOL,
    "ActionService.SettleAction": _TOOL,
    "ActionService.AbandonAction": _TOOL,
    "ActionService.SpendBudget": _TOOL,
    "SessionService.OpenSession": _TOOL | _ISSUER,
    "ControlService.CancelRun": _OPERATOR | _ISSUER,
    "ControlService.RevokeGrants": _OPERATOR,
    "ControlService.FreezeGrants": _OPERATOR,
    "ControlService.LiftFence": _OPERATOR,
    "ControlService.ApproveAction": _OPERATOR,
    "ControlService.DenyAction": _OPERATOR,
    "ControlService.ResolveAction": _OPERATOR,
    "ControlService.UndoRun": _OPERATOR,
    "ControlService.WithdrawUndo": _OPERATOR,
    "JournalService.GetReport": _READERS | _ISSUER,
    "JournalService.GetRun": _READERS | _ISSUER,
    "JournalService.ListRuns": _READERS,
    "JournalService.ListEntries": _READERS,
    "JournalService.WatchEntries": _READERS,
    "JournalService.GetHead": _READERS,
    "JournalService.GetWork": _READERS | _ISSUER,
    "JournalService.ExplainRefusal": _READERS,
    "JournalService.ListFences": _READERS,
    "JournalService.GetFence": _READERS,
    "JournalService.ListApprovals": _READERS,
    "JournalService.ListEvidenceKeys": _READERS | _ISSUER,
    "UndoService.ClaimDuty": _COMPENSATOR,
    "UndoService.RenewDuty": _COMPENSATOR,
    "UndoService.CompleteDuty": _COMPENSATOR,
    "UndoService.FailDuty": _COMPENSATOR,
}
