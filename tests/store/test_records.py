"""Records as flat text: what is written is read back the same, and a damaged record is never guessed at."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grant_service.core.action import Action, ActionState, Intent
from grant_service.core.grant import Grant
from grant_service.core.run import Run, RunState
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.records import (
    action_fields,
    action_from,
    grant_fields,
    grant_from,
    run_fields,
    run_from,
)

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
numbers = st.integers(0, 2**53)
words = st.text(max_size=20)
paths = st.lists(ids, max_size=7).map(tuple)
scopes = st.builds(Scope, ids, words, st.integers(0, 10**9), st.sampled_from(Reversibility))

runs = st.builds(
    Run, ids, ids | st.just(""), paths, words, words, words, st.dictionaries(words, words, max_size=3)
).flatmap(
    lambda run: st.builds(
        replace, st.just(run), state=st.sampled_from(RunState), epoch=words, deadline=numbers
    )
)
grants = st.lists(scopes, min_size=1, max_size=4).flatmap(
    lambda some: st.builds(
        Grant,
        ids,
        ids,
        paths,
        words,
        words,
        st.just(tuple(some)),
        st.tuples(*[numbers] * len(some)),
        numbers,
        numbers,
        numbers,
        numbers,
        numbers,
    )
)
intents = st.builds(Intent, ids, words, words, words, st.sampled_from(Reversibility), words)
actions = st.builds(
    Action, ids, ids, intents, st.integers(0, 15), st.sampled_from(ActionState), *[numbers] * 6
)

A_RUN = Run("r")
A_GRANT = Grant("g", "r", (), "tool", "e", (Scope("*"),), (0,), 1, 2, 3, 4, 5)
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


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        (run_fields(A_RUN), run_from),
        (grant_fields(A_GRANT), grant_from),
        (action_fields(AN_ACTION), action_from),
    ],
    ids=["run", "grant", "action"],
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
    ],
)
def test_a_record_with_a_strange_value_is_an_error(
    fields: dict[str, str], read: object, name: str, value: str
) -> None:
    """An unknown state, class or number is not read as something else."""
    assert callable(read)
    with pytest.raises(ValueError):  # noqa: PT011 - whichever conversion fails, it is one
        read({**fields, name: value})
