"""Lua narrows scopes as Python does, on a real server, many cases a call."""

import json
from collections.abc import Iterator
from itertools import product

import pytest
import redis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grant_service.core.errors import Refusal
from grant_service.core.grant import Grant
from grant_service.core.lifecycle.grants import _narrowed
from grant_service.core.scope import Reversibility, Scope, scopes_text
from grant_service.store.scripts import _part
from tests.core.scope_cases import pattern_and_action, pattern_and_resource
from tests.support.redis_server import RedisServer

TEXT = "local function text(number) return string.format('%.0f', number) end\n"
NARROW_ALL = """
local told = {}
for i, case in ipairs(cjson.decode(ARGV[1])) do
  local scopes, more = narrowed_all(cjson.decode(case[1]), cjson.decode(case[2]))
  told[i] = scopes and scopes_text(scopes) .. more or more.field .. ' ' .. more.rule
end
return told
"""

Case = tuple[tuple[Scope, ...], tuple[Scope, ...]]


NAMES, PLACES, LIMIT = pattern_and_action(), pattern_and_resource(), st.sampled_from([0, 0, 2])
CLASS, EITHER, AT = st.sampled_from(Reversibility), st.booleans(), st.integers(0, 2)
#: A scope: which of six actions and seven resources, its uses, its class, and from which class on to ask.
USES, ASKED = [0, 0, 0, 1, 2, 10**15], [*[None] * len(Reversibility), *Reversibility]
PARTS = st.tuples(st.integers(0, 41), st.sampled_from([*product(USES, Reversibility, ASKED)]))
OTHERS, WANTED = st.lists(PARTS, max_size=2), st.lists(PARTS, min_size=1, max_size=2)


@st.composite
def case(draw: st.DrawFn) -> Case:
    """One to three scopes above, and one or two that are asked for: patterns that fit, or almost do."""
    (pattern, action), (place, resource) = draw(NAMES), draw(PLACES)
    quoted = 'a/"*"' if draw(EITHER) else place
    actions = ["*", "a", "a.*", pattern, pattern, action]
    places = ["*", "a/*", place, place, resource or "*", place.removesuffix("*") or "*", quoted]

    def scope(which: int, rest: tuple[int, Reversibility, Reversibility | None]) -> Scope:
        return Scope(actions[which % 6], places[which // 6], *rest)

    above = [scope(*parts) for parts in draw(OTHERS)]
    above.insert(draw(AT), Scope(pattern, place, draw(LIMIT), draw(CLASS)))
    return tuple(above), tuple(scope(*parts) for parts in draw(WANTED))


def narrowed(above: tuple[Scope, ...], asked: tuple[Scope, ...]) -> str:
    """What Python makes of a case."""
    grant = Grant("g", "r", (), "tool", "", above, (0,) * len(above), 0, 0, 0, 0, 0)
    found = _narrowed(grant, asked)
    if isinstance(found, Refusal):
        return f"{found.details['field']} {found.details['rule']}"
    return scopes_text(found[0]) + ",".join(map(str, found[1]))


def narrowed_by_lua(client: redis.Redis, cases: list[Case], narrow: str) -> list[str]:
    """What Lua makes of each."""
    told = json.dumps([[scopes_text(above), scopes_text(asked)] for above, asked in cases])
    answer = client.eval("\n".join([TEXT, _part("_pattern"), narrow, NARROW_ALL]), 0, told)
    assert isinstance(answer, list)
    return answer


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client; no store is involved."""
    with redis_server.client() as plain:
        yield plain


@settings(max_examples=150, deadline=None)
@given(cases=st.lists(case(), min_size=1, max_size=30))
def test_lua_narrows_as_python_does(client: redis.Redis, cases: list[Case]) -> None:
    """For all scopes above and all that is asked for the same scopes, letter for letter, or the same rule."""
    assert narrowed_by_lua(client, cases, _part("_narrow")) == [narrowed(*one) for one in cases]


@pytest.fixture(scope="module")
def some_cases() -> list[Case]:
    """Cases that are the same in every run."""
    made: list[Case] = []

    @settings(max_examples=60, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(st.lists(case(), min_size=30, max_size=30))
    def draw(cases: list[Case]) -> None:
        made.extend(cases)

    draw()
    return made


def test_the_cases_of_narrowing_are_not_trivial(some_cases: list[Case]) -> None:
    """Every rule forbids some, and the first, second and third scope above cover some."""
    told = [narrowed(*one) for one in some_cases]
    for rule in ("actions", "resources", "more uses"):
        assert any(rule in one for one in told), rule
    assert {one[-1] for one in told if one.startswith("[[")} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (
            "if position == #pattern then return at <= #other end",
            "if position == #pattern then return true end",
        ),
        ("return at == #other + 1", "return true"),
        ("if not action_matches(wide[1], asked[1]) then return nil, 1 end", ""),
        ("if not resource_covers(wide[2], asked[2]) then return nil, 2 end", ""),
        ("if wide[3] > 0 and asked[3] > wide[3] then return nil, 3 end", ""),
        ("asked[3] > 0 and asked[3] or wide[3]", "asked[3]"),
        ("lower(wide[4], asked[4])", "asked[4]"),
        ("lower(wide[5], asked[5])", "asked[5]"),
        ("RANK[one] <= RANK[other]", "RANK[one] >= RANK[other]"),
        ("then demands = lower(demands, wide[5]) end", "then demands = one[5] end"),
        ("or action_matches(one[1], wide[1]) then", "then"),
        ("closest = math.max(closest, rule)", "closest = rule"),
        ("text(place - 1)", "text(place)"),
        ("j == 3 and text(word)", "j == 3 and tostring(word)"),
        ("""string.gsub(word, '["\\\\]', '\\\\%0')""", "word"),
    ],
)
def test_a_wrong_narrowing_in_lua_is_caught(
    client: redis.Redis, some_cases: list[Case], right: str, wrong: str
) -> None:
    """Negative control: each of these small changes shows in the cases."""
    narrow = _part("_narrow")
    assert narrow.count(right) == 1
    changed = narrowed_by_lua(client, some_cases, narrow.replace(right, wrong))
    assert changed != [narrowed(*one) for one in some_cases]
