"""Records as flat text: what is written is read back the same, and a damaged record is never guessed at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grant_service.core.action import Action, ActionState, Approval, Intent, Spending
from grant_service.core.budget import MAX_AMOUNT, Budget, Exhaustion, costs_of
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.fence import Fence, FenceKind, Selector
from grant_service.core.grant import Grant
from grant_service.core.run import Run, RunState
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.records import (
    action_fields,
    action_from,
    action_from_values,
    action_values,
    duty_fields,
    duty_from,
    fence_fields,
    fence_from,
    grant_fields,
    grant_from,
    run_fields,
    run_from,
    spending_fields,
    spending_from,
)
from grant_service.store.sqlite_state import _SCHEMA_VERSION

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
numbers = st.integers(0, 2**53)
words = st.text(max_size=20)
lines = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
names = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
amounts = st.integers(0, MAX_AMOUNT)
flags = st.booleans()
paths = st.lists(ids, max_size=7).map(tuple)
classes = st.sampled_from(Reversibility)
scopes = st.builds(Scope, ids, words, st.integers(0, 10**9), classes, st.none() | classes)
reserved = st.lists(st.tuples(numbers, amounts), max_size=3).map(tuple)
budgets = st.lists(
    st.builds(Budget, names, amounts, st.sampled_from(Exhaustion), amounts, reserved), max_size=3
).map(tuple)
marks = st.lists(lines.map(lambda line: f"subject={line}"), max_size=3).map(tuple)

runs = st.builds(
    Run,
    run_id=ids,
    parent=ids | st.just(""),
    ancestors=paths,
    subject=words,
    agent=words,
    tenant=words,
    labels=st.dictionaries(words, words, max_size=3),
    state=st.sampled_from(RunState),
    epoch=words,
    deadline=numbers,
    marks=marks,
    budgets=budgets,
    spendings=numbers,
    delegations=numbers,
)
grants = st.lists(scopes, min_size=1, max_size=4).flatmap(
    lambda some: st.builds(
        Grant,
        grant_id=ids,
        run_id=ids,
        ancestors=paths,
        audience=words,
        epoch=words,
        scopes=st.just(tuple(some)),
        used=st.tuples(*[numbers] * len(some)),
        issue_time=numbers,
        expire_time=numbers,
        issue_seq=numbers,
        ttl_ms=numbers,
        root_seq=numbers,
        chain=paths,
        narrows=st.lists(st.integers(0, 15), max_size=4).map(tuple),
        sealed=flags,
        budgets=budgets,
        end_time=numbers,
        end_seq=numbers,
        end_budget=names | st.just(""),
    )
)
costs = st.dictionaries(names, amounts, max_size=3).map(costs_of)
intents = st.builds(Intent, ids, words, words, words, classes, words, costs, words, words, words)
said = st.builds(Approval, words, words, st.integers(1, 2**53), numbers, numbers, words, words)
actions = st.builds(
    Action,
    ids,
    ids,
    intents,
    st.integers(0, 15),
    st.sampled_from(ActionState),
    *[numbers] * 7,
    flags,
    words,
    marks,
    st.none() | said,
)
spendings = st.builds(Spending, ids, ids, ids, names, amounts, flags, numbers)
fences = st.builds(
    Fence,
    ids,
    st.sampled_from(FenceKind),
    st.builds(Selector, marks, ids | st.just("")),
    *[words] * 3,
    *[numbers] * 5,
    *[words] * 2,
    *[numbers] * 2,
    flags,
)
duties = st.builds(
    Duty,
    ids,
    ids,
    st.sampled_from(DutyKind),
    ids,
    st.sampled_from(DutyState),
    *[numbers] * 2,
    words,
    *[numbers] * 3,
    *[words] * 2,
    numbers,
    words,
    *[numbers] * 2,
    words,
)

A_RUN = Run("r")
A_GRANT = Grant("g", "r", (), "tool", "e", (Scope("*"),), (0,), 1, 2, 3, 4, 5)
A_SPENDING = Spending("r", "g", "o", "usd", 1, False, 1)
A_FENCE = Fence("f", FenceKind.FREEZE, Selector(("run=r",)), "INCIDENT", "", "", 1, 2, 3)
A_DUTY = Duty("r", "o", DutyKind.UNDO, "email.recall", DutyState.OPEN, 1, 2, "e", 3, 4)
AN_ACTION = Action(
    "r", "g", Intent("o", "a", "", "00", Reversibility.READ_ONLY), 0, ActionState.PREPARED, 1, 2, 3
)


@given(runs)
def test_a_run_comes_back_the_same(run: Run) -> None:
    """Every field of a run survives."""
    assert run_from(run_fields(run)) == run


@given(grants)
def test_a_grant_comes_back_the_same(grant: Grant) -> None:
    """Every field of a grant survives, each scope with its uses."""
    assert grant_from(grant_fields(grant)) == grant


@given(actions)
def test_an_action_comes_back_the_same(action: Action) -> None:
    """Every field of an action survives."""
    assert action_from(action_fields(action)) == action
    assert action_from_values(action_values(action)) == action


def test_the_values_of_an_action_come_in_the_order_of_the_schema() -> None:
    """A file has them without their names: with another order under the same number it would be misread."""
    assert _SCHEMA_VERSION == 6
    assert " ".join(action_fields(AN_ACTION)) == (
        "run grant op action resource digest reversibility compensation compensation_args probe costs "
        "summary scope state prepare_time prepare_seq expire_time undo_until fence use_by settle_seq "
        "result_args resolved handles "
        "said_actor said_note said_seq said_until said_ttl_ms said_amendment said_digest"
    )


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_values_is_no_action(more: int) -> None:
    """There are no defaults here either."""
    values = action_values(AN_ACTION)
    with pytest.raises(ValueError, match="zip"):
        action_from_values([*values, ""] if more > 0 else values[:-1])


@given(spendings)
def test_a_spending_comes_back_the_same(told: Spending) -> None:
    """Every field of a spending survives."""
    assert spending_from(spending_fields(told)) == told


@given(fences)
def test_a_fence_comes_back_the_same(fence: Fence) -> None:
    """Every field of a fence survives."""
    assert fence_from(fence_fields(fence)) == fence


@given(duties)
def test_a_duty_comes_back_the_same(duty: Duty) -> None:
    """Every field of a duty survives."""
    assert duty_from(duty_fields(duty)) == duty


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        (run_fields(A_RUN), run_from),
        (grant_fields(A_GRANT), grant_from),
        (action_fields(AN_ACTION), action_from),
        (spending_fields(A_SPENDING), spending_from),
        (fence_fields(A_FENCE), fence_from),
        (duty_fields(A_DUTY), duty_from),
    ],
    ids=["run", "grant", "action", "spending", "fence", "duty"],
)
def test_a_record_with_a_missing_field_is_an_error(fields: dict[str, str], read: object) -> None:
    """There are no defaults: half a record is no record."""
    assert callable(read)
    for name in fields:
        with pytest.raises(KeyError):
            read({key: value for key, value in fields.items() if key != name})


@pytest.mark.parametrize(
    ("fields", "read", "name", "value"),
    [
        (run_fields(A_RUN), run_from, "state", "ALIVE"),
        (run_fields(A_RUN), run_from, "deadline", ""),
        (run_fields(A_RUN), run_from, "labels", "{"),
        (grant_fields(A_GRANT), grant_from, "used", "many"),
        (grant_fields(A_GRANT), grant_from, "scopes", '[["*"]]'),
        (grant_fields(A_GRANT), grant_from, "scopes", '[["*","*",0,"ANYTHING"]]'),
        (action_fields(AN_ACTION), action_from, "state", "permitted"),
        (action_fields(AN_ACTION), action_from, "reversibility", ""),
        (action_fields(AN_ACTION), action_from, "fence", "1e3"),
        (action_fields(AN_ACTION), action_from, "costs", "usd"),
        (action_fields(AN_ACTION), action_from, "said_until", ""),
        (grant_fields(A_GRANT), grant_from, "scopes", '[["*","*",0,"IRREVERSIBLE"]]'),
        (grant_fields(A_GRANT), grant_from, "scopes", '[["*","*",0,"IRREVERSIBLE","ANYTHING"]]'),
        (grant_fields(A_GRANT), grant_from, "sealed", "0"),
        (grant_fields(A_GRANT), grant_from, "narrows", "0,"),
        (run_fields(A_RUN), run_from, "budgets", "usd 5 CANCEL 0"),
        (run_fields(A_RUN), run_from, "budgets", "usd 5 IGNORE 0 "),
        (run_fields(A_RUN), run_from, "budgets", "usd 5 CANCEL 0 1000"),
        (run_fields(A_RUN), run_from, "spendings", ""),
        (spending_fields(A_SPENDING), spending_from, "incurred", "yes"),
        (spending_fields(A_SPENDING), spending_from, "amount", ""),
        (fence_fields(A_FENCE), fence_from, "kind", "BLOCK"),
        (fence_fields(A_FENCE), fence_from, "standing", "true"),
        (fence_fields(A_FENCE), fence_from, "kill_until", ""),
        (action_fields(AN_ACTION), action_from, "undo_until", ""),
        (duty_fields(A_DUTY), duty_from, "kind", "REDO"),
        (duty_fields(A_DUTY), duty_from, "state", "open"),
        (duty_fields(A_DUTY), duty_from, "lease_until", ""),
        (duty_fields(A_DUTY), duty_from, "attempts", "1.5"),
    ],
)
def test_a_record_with_a_strange_value_is_an_error(
    fields: dict[str, str], read: object, name: str, value: str
) -> None:
    """An unknown state, class or number is not read as something else."""
    assert callable(read)
    with pytest.raises(ValueError):  # noqa: PT011 - whichever conversion fails, it is one
        read({**fields, name: value})
