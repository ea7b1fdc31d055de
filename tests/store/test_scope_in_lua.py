"""The scope matcher in Lua chooses as the one in Python does, on a real server, many cases a call."""

import json
from collections.abc import Iterator
from itertools import product

import pytest
import redis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grant_service.core.scope import Reversibility, Rule, Scope, choose, scopes_text
from grant_service.store.scripts import _part
from tests.core.scope_cases import pattern_and_action, pattern_and_resource
from tests.support.redis_server import RedisServer

#: What `choose` needs of the shared rules, and a call of it for each case.
SPLIT = """
local function split(list)
  local parts = {}
  for part in string.gmatch(list, '[^,]+') do parts[#parts + 1] = part end
  return parts
end
"""
CHOOSE_ALL = """
local chosen = {}
for i, case in ipairs(cjson.decode(ARGV[1])) do
  local place, rule = choose({ scopes = case[1], used = case[2] }, case[3])
  chosen[i] = place and tostring(place - 1) or rule
end
return chosen
"""

Case = tuple[tuple[Scope, ...], tuple[int, ...], str, str, Reversibility]


#: Actions of further scopes, resources, uses and classes; '' stands for what the first scope has.
SCOPES = list(product(["*", "a", "a.*", ""], ["*", "a/*", ""], range(3), Reversibility))
NAMES, PLACES = pattern_and_action(), pattern_and_resource()
LIMIT, OTHERS = st.sampled_from([0, 0, 1]), st.lists(st.sampled_from(SCOPES), max_size=2)
USED, CLASS = st.sampled_from([*product([0, 0, 1, 2], repeat=3)]), st.sampled_from(Reversibility)


@st.composite
def case(draw: st.DrawFn) -> Case:
    """One to three scopes with the uses taken from each, and an action that fits the first, or almost."""
    (pattern, action), (place, resource) = draw(NAMES), draw(PLACES)
    scopes = [Scope(pattern, place, draw(LIMIT), draw(CLASS))]
    scopes += [Scope(one or pattern, on or place, *rest) for one, on, *rest in draw(OTHERS)]
    return tuple(scopes), draw(USED)[: len(scopes)], action, resource, draw(CLASS)


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client; no store is involved."""
    with redis_server.client() as plain:
        yield plain


def chosen_by_lua(client: redis.Redis, cases: list[Case], matcher: str) -> list[str]:
    """What the matcher chooses in each case: the place of a scope, or a rule."""
    told = [
        [
            scopes_text(scopes),
            ",".join(map(str, used)),
            {"action": action, "resource": resource, "reversibility": reversibility},
        ]
        for scopes, used, action, resource, reversibility in cases
    ]
    answer = client.eval("\n".join([SPLIT, matcher, CHOOSE_ALL]), 0, json.dumps(told))
    assert isinstance(answer, list)
    return answer


@settings(max_examples=100, deadline=None)
@given(cases=st.lists(case(), min_size=1, max_size=30))
def test_lua_chooses_as_python_does(client: redis.Redis, cases: list[Case]) -> None:
    """For every pattern, name, class and number of uses the same scope, or the same rule that forbids."""
    assert chosen_by_lua(client, cases, _part("_pattern") + _part("_scope")) == [
        str(choose(*one)) for one in cases
    ]


@pytest.fixture(scope="module")
def some_cases() -> list[Case]:
    """Cases that are the same in every run."""
    made: list[Case] = []

    @settings(max_examples=100, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(st.lists(case(), min_size=30, max_size=30))
    def draw(cases: list[Case]) -> None:
        made.extend(cases)

    draw()
    return made


def test_the_cases_are_not_trivial(some_cases: list[Case]) -> None:
    """Every rule forbids some, and the first, second and third scope allow some."""
    assert {choose(*one) for one in some_cases} == {*Rule, 0, 1, 2}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if stop == at then return false end", ""),
        (
            "if position == #pattern then return at <= #resource end",
            "if position == #pattern then return true end",
        ),
        ("return at == #resource + 1", "return true"),
        ("'[/:@,;?#&=]'", "'[/:@,;?#&]'"),
        ("if string.sub(pattern, -2) == '.*' then", "if false then"),
        (
            "string.sub(action, 1, #pattern - 1) == string.sub(pattern, 1, -2)",
            "string.find(action, pattern) == 1",
        ),
        ("RANK[intent.reversibility] > RANK[scope[4]]", "RANK[intent.reversibility] >= RANK[scope[4]]"),
        ("used >= scope[3]", "used > scope[3]"),
        ("closest = math.max(closest, rule)", "closest = rule"),
        ("if not rule then return place, scope end", "if not rule then return 1, scope end"),
    ],
)
def test_a_wrong_matcher_in_lua_is_caught(
    client: redis.Redis, some_cases: list[Case], right: str, wrong: str
) -> None:
    """Negative control: each of these small changes shows in the cases."""
    matcher = _part("_pattern") + _part("_scope")
    assert matcher.count(right) == 1
    changed = chosen_by_lua(client, some_cases, matcher.replace(right, wrong))
    assert changed != [str(choose(*one)) for one in some_cases]
