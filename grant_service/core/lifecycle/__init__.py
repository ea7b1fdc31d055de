"""The rules: the only place where Python changes the state of a run, grant, action, budget, fence or duty.

Each verb is a function of one store's state. It asks in a fixed order and answers with the first refusal; it
writes only after the last question, because a store that runs these rules as a script cannot take a write
back. `store/lua/` says the same for Redis; the differential test holds the two against each other.
"""

from grant_service.core.lifecycle.actions import abandon, commit, perform, prepare, settle
from grant_service.core.lifecycle.approvals import approve, deny
from grant_service.core.lifecycle.duties import claim, complete, fail, renew, resolve, undo, withdraw
from grant_service.core.lifecycle.fences import freeze, lift, revoke
from grant_service.core.lifecycle.grants import delegate, extend, issue
from grant_service.core.lifecycle.runs import cancel, finish, open, release
from grant_service.core.lifecycle.spendings import spend

__all__ = [
    "abandon",
    "approve",
    "cancel",
    "claim",
    "commit",
    "complete",
    "delegate",
    "deny",
    "extend",
    "fail",
    "finish",
    "freeze",
    "issue",
    "lift",
    "open",
    "perform",
    "prepare",
    "release",
    "renew",
    "resolve",
    "revoke",
    "settle",
    "spend",
    "undo",
    "withdraw",
]
