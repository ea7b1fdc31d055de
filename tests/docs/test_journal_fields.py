"""The journal's kinds and fields, as docs/design.md lists them, held against a journal that has them all."""

from collections import defaultdict

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.budget import Budget
from grant_service.core.duty import DutyKind, DutyState
from grant_service.core.errors import Refusal
from grant_service.core.fence import FENCES, selector_of
from grant_service.core.grant import GrantRef
from grant_service.core.journal import Kind
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.memory import MemoryStore
from tests.docs.pages import code, page

LONG = 60_000
GRANT = GrantRef("g-1", "r-2", ("r-1",), "tool", "ann")


def intent(op_id: str, action: str = "email.send") -> Intent:
    """An intent with every field filled in."""
    resource = "mailto:a@example.com"
    said = (Reversibility.COMPENSABLE, "email.recall", (("usd", 1),), "recall it if it is wrong")
    return Intent(op_id, action, resource, "00" * 32, *said, "{}", "email.sent")


async def authority(store: MemoryStore) -> None:
    """What is handed on, spent, agreed to and fenced, each line with every field."""
    purse = (Budget("usd", 5), Budget("coins", 1))
    await store.open(verbs.Open("r-3", 2 * LONG, LONG, budgets=purse))
    asked = (Scope("*", approval_from=Reversibility.READ_ONLY),)
    await store.issue(verbs.Issue("g-3", "r-3", "tool", asked, LONG, budgets=purse, sealed=True))
    await store.issue(verbs.Issue("g-4", "r-3", "tool", asked, LONG, budgets=purse))
    top, sealed = GrantRef("g-4", "r-3", (), "tool", ""), GrantRef("g-3", "r-3", (), "tool", "")
    await store.delegate(verbs.Delegate(top, "tool", "g-5", asked, LONG, 9, budgets=purse, sealed=True))
    await store.extend(verbs.Extend(top, "", 2 * LONG))
    for op_id in ("o-1", "o-2"):
        await store.prepare(verbs.Prepare(top, "tool", intent(op_id), LONG, 10, LONG))
    await store.approve(verbs.Approve("r-3", "o-1", "00" * 32, LONG, "operator", "fine"))
    await store.deny(verbs.Deny("r-3", "o-2", "operator", "not to them"))
    await store.spend(verbs.Spend(top, "tool", "s-1", "usd", 1, 10, incurred=True))
    refused = await store.spend(verbs.Spend(sealed, "tool", "s-2", "coins", 2, 10))
    await store.open(verbs.Open("r-4", LONG, LONG))
    small = (Budget("coins", 1),)
    await store.issue(verbs.Issue("g-6", "r-4", "tool", asked, LONG, budgets=small))
    ended = GrantRef("g-6", "r-4", (), "tool", "")
    await store.spend(verbs.Spend(ended, "tool", "s-3", "coins", 2, 10))
    await store.spend(verbs.Spend(ended, "tool", "s-4", "coins", 2, 10, incurred=True))
    everything, why = selector_of(["tenant=acme"]), (StopReason.INCIDENT, LONG, "operator", "on fire")
    await store.revoke(verbs.Revoke("f-1", everything, *why))
    await store.freeze(verbs.Freeze("f-2", everything, *why, ttl_ms=LONG))
    await store.lift(verbs.Lift("f-2", "operator", "put out"))
    assert isinstance(refused, Refusal)


async def duties(store: MemoryStore, clock: list[int]) -> None:
    """What is undone, called off and asked, each done, tried, given up and taken back."""
    await store.open(verbs.Open("r-6", LONG, LONG))
    await store.issue(verbs.Issue("g-8", "r-6", "tool", (Scope("*"),), LONG))
    grant = GrantRef("g-8", "r-6", (), "tool", "")
    for number in range(1, 9):
        wanted = verbs.Perform(grant, "tool", intent(f"o-{number}"), 1, 10, LONG, undo_ms=LONG)
        await store.perform(wanted)
        if number < 6:
            handle = (f"job-{number}", "job.stop" if number < 5 else "")
            said = (f"o-{number}", ActionState.SUCCEEDED, "m-1", "sent", '{"a":1}', *handle)
            await store.settle(verbs.Settle(grant, "tool", *said))
    await store.cancel(verbs.Cancel("r-6", StopReason.USER_STOP))
    clock[0] += 10
    await store.resolve(verbs.Resolve("r-6", "o-8", ActionState.FAILED, "operator", "looked"))
    for number in (1, 2, 3):
        await store.undo(verbs.Undo("r-6", f"o-{number}", "operator", "all of it"))
    await store.withdraw(verbs.Withdraw("r-6", "o-3", "operator", "but that"))
    for op_id, kind, outcome in (
        ("o-2", DutyKind.UNDO, DutyState.DONE),
        ("o-1", DutyKind.UNDO, ""),
        ("o-1", DutyKind.CALL_OFF, DutyState.REFUSED),
        ("o-2", DutyKind.CALL_OFF, ""),
        ("o-6", DutyKind.ASK, ActionState.SUCCEEDED),
        ("o-7", DutyKind.ASK, ""),
    ):
        which = ("r-6", op_id, kind)
        for final in (False, True):
            await store.claim(verbs.Claim(*which, "w-1", f"l-{final}", LONG, 3))
            held = (*which, f"l-{final}")
            if final and outcome:
                await store.complete(verbs.Complete(*held, outcome, "u-1", "as it was"))
            else:
                failed = await store.fail(verbs.Fail(*held, 1, 3, "no answer", final))
                assert isinstance(failed, verbs.Failed)
            clock[0] += 10


async def story() -> MemoryStore:
    """A store in whose journal every kind of line has every field it can have."""
    clock = [1_800_000_000_000]
    store = MemoryStore(lambda: clock[0])
    await authority(store)
    await duties(store, clock)
    budgets = (Budget("usd", 100),)
    await store.open(verbs.Open("r-1", LONG, LONG, "", "ann", "mailer", "acme", {"team": "a"}, budgets))
    await store.open(verbs.Open("r-2", LONG, LONG, "r-1", "ann", "mailer", "acme", {"team": "a"}))
    await store.issue(verbs.Issue("g-1", "r-2", "tool", (Scope("email.send"),), LONG))
    for op_id in ("o-1", "o-2", "o-3"):
        await store.prepare(verbs.Prepare(GRANT, "tool", intent(op_id), LONG, 10))
    for op_id in ("o-1", "o-2"):
        await store.commit(verbs.Commit(GRANT, "tool", op_id, "00" * 32, LONG))
    await store.settle(verbs.Settle(GRANT, "tool", "o-1", ActionState.SUCCEEDED, "m-1", "sent"))
    await store.abandon(verbs.Abandon(GRANT, "tool", "o-3", "not now"))
    refused = [
        await store.settle(verbs.Settle(GRANT, "tool", "o-1", ActionState.FAILED)),
        await store.prepare(verbs.Prepare(GRANT, "tool", intent("o-4", "file.delete"), LONG, 10)),
        await store.prepare(verbs.Prepare(GRANT, "issuer", intent("o-5"), LONG, 10)),
    ]
    await store.finish(verbs.Finish("r-2", "issuer", "done"))
    refused.append(await store.commit(verbs.Commit(GRANT, "tool", "o-2", "00" * 32, LONG)))
    await store.open(verbs.Open("r-5", LONG, LONG, "", "ann"))
    await store.issue(verbs.Issue("g-7", "r-5", "tool", (Scope("*"),), LONG))
    await store.revoke(verbs.Revoke("f-3", selector_of(["run=r-5"]), StopReason.INCIDENT, LONG))
    fenced = GrantRef("g-7", "r-5", (), "tool", "")
    refused.append(await store.perform(verbs.Perform(fenced, "tool", intent("o-9"), LONG, 10)))
    assert all(isinstance(answer, Refusal) for answer in refused)
    await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP, "operator", "enough", "t-1"))
    return store


async def test_every_kind_of_journal_line_is_listed_with_its_fields() -> None:
    """docs/design.md lists the kinds of the journal's lines with their fields, and no others."""
    store = await story()
    found: dict[str, set[str]] = defaultdict(set)
    for run_id in ("r-1", "r-2", "r-3", "r-4", "r-5", "r-6", FENCES):
        for entry in await store.journal(run_id, 0, 100):
            found[entry.kind.value] |= entry.data.keys()
    listed = {code(row[0]): set(row[2].split(", ")) for row in page("docs/design.md").table("Kind")}
    assert found.keys() == {kind.value for kind in Kind}
    assert listed == found
