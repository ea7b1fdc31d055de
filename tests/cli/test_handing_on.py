"""Delegation and budgets: less is handed on, what is used is drawn from above, and it is all told."""

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell, one_line

HAND_ON = ("delegate", "--grant-token-from", "g-1", "--grant", "g-2")


@pytest.fixture
def boss(real: Sidecar, shell: Shell) -> Shell:
    """A run with budgets, and a grant to hand on."""
    shell(
        "open",
        "--run",
        "r-1",
        "--agent",
        "planner",
        "--budget",
        "tokens=100",
        "--budget",
        "tool_calls=3:refuse",
    )
    shell("issue", "r-1", "--grant", "g-1", "--scope", "a.* uses=5", "--budget", "tokens=80", "--ttl", "5m")
    return shell


def test_less_is_handed_on_in_the_same_run(boss: Shell, real: Sidecar) -> None:
    """Its token is kept like any other, and the page says what it may do and where it comes from."""
    done = boss(*HAND_ON, "--scope", "a.b uses=1", "--ttl", "60s", "--budget", "tokens=10:refuse", "--sealed")
    assert done.code == ExitCode.OK
    for told in (
        "Grant g-2 of run r-1, good for 1 min",
        "a.b * uses=1",
        "budget tokens: 10 of 10 left, refuses only",
        "left to it, of all budgets that apply: tokens 10, tool_calls 3",
        "delegated from g-1",
        "sealed: it may not be handed on",
        "g-2.token",
    ):
        assert told in done.out
    assert "eyJ" not in done.out + done.err
    assert boss("perform", "a.b", "--grant", "g-2").code == ExitCode.OK
    assert "USES_EXHAUSTED" in boss("perform", "a.b", "--grant", "g-2").err
    assert boss("delegate", "--grant-token-from", "g-2", "--scope", "a.b").code == ExitCode.FIX_THE_CALL


def test_a_sub_agent_gets_a_run_of_its_own(boss: Shell) -> None:
    """Opened in the same step; stopping the run above stops it."""
    told = boss.json(
        *HAND_ON, "--scope", "a.*", "--child-run", "r-2", "--agent", "helper", "--label", "team=x"
    )
    assert told["schema"] == "countermand.delegated/v1"
    assert told["run"]["parent_run_id"] == "r-1"
    assert (told["run"]["agent"], told["run"]["labels"]) == ("helper", {"team": "x"})
    assert told["grant"]["chain"] == ["g-1"]
    assert told["remaining"] == {"tokens": 80, "tool_calls": 3}
    again = boss(*HAND_ON, "--scope", "a.*", "--child-run", "r-2", "--agent", "helper", "--label", "team=x")
    assert "issued before" in again.err
    boss("cancel", "r-1", "--reason", "user_stop")
    assert boss("perform", "a.b", "--grant", "g-2").code == ExitCode.STOP_THE_RUN


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--scope", "b.*"], ExitCode.FIX_THE_CALL, "GRANT_TOO_WIDE"),
        (["--scope", "a.* uses=9"], ExitCode.FIX_THE_CALL, "GRANT_TOO_WIDE"),
        (["--scope", "a.b", "--budget", "tokens=81"], ExitCode.FIX_THE_CALL, "GRANT_TOO_WIDE"),
        (["--scope", "a.b uses=x"], ExitCode.FIX_THE_CALL, "uses=N"),
        (["--scope", "a.b approval=never"], ExitCode.FIX_THE_CALL, "approval=CLASS"),
        (["--scope", "a.b", "--agent", "x"], ExitCode.USAGE, "--child-run"),
        (["--scope", "a.b", "--budget", "tokens"], ExitCode.USAGE, "NAME=LIMIT"),
        (["--scope", "a.b", "--budget", "tokens=1:stop"], ExitCode.USAGE, "NAME=LIMIT"),
        (["--scope", "a.b", "--budget", "t=1", "--budget", "t=2"], ExitCode.USAGE, "each name once"),
        ([], ExitCode.USAGE, "--scope"),
    ],
)
def test_more_is_refused(boss: Shell, more: list[str], code: ExitCode, told: str) -> None:
    """One line that names what is too much."""
    done = boss(*HAND_ON, *more)
    assert done.code == code
    assert one_line(done.err)
    assert told in done.err


def test_the_token_to_hand_on_comes_as_for_every_verb(boss: Shell, real: Sidecar) -> None:
    """By id, from a file, standard input, the environment; never on the command line."""
    file = real.home / "grants" / "g-1.token"
    token = file.read_text().strip()
    for given, typed, variable in ((f"@{file}", "", ""), ("-", token, ""), (None, "", token)):
        option = ["--grant-token-from", given] if given else []
        variables = {"COUNTERMAND_GRANT_TOKEN": variable} if variable else {}
        assert boss("delegate", *option, "--scope", "a.b", typed=typed, **variables).code == ExitCode.OK
    refused = boss("delegate", "--grant-token-from", token, "--scope", "a.b")
    assert refused.code == ExitCode.USAGE
    assert token not in refused.err
    assert "--grant-token-from" in boss("delegate", "--scope", "a.b").err


def test_spending_draws_from_everything_above(boss: Shell) -> None:
    """What is left comes back with the answer; a spending said again takes nothing again."""
    told = boss.json("spend", "tokens", "30", "--grant", "g-1", "--op", "o-1")
    assert told["schema"] == "countermand.spent/v1"
    assert told["remaining"] == {"tokens": 50, "tool_calls": 3}
    assert "nothing was taken again" in boss("spend", "tokens", "30", "--grant", "g-1", "--op", "o-1").out
    assert boss("spend", "tokens", "31", "--grant", "g-1", "--op", "o-1").code == ExitCode.FIX_THE_CALL
    assert boss.json("runs")["runs"][0]["budgets"]["tokens"]["remaining"] == 70
    assert "tokens 70 of 100" in boss("runs").out
    assert "budget tokens: 70 of 100 left" in boss("report", "r-1").out
    other = boss("spend", "other", "1", "--grant", "g-1").out
    assert "Left: tokens 50, tool_calls 3. Nobody set a budget other: it has no limit." in other


def test_more_than_is_left_is_refused_or_ends_what_set_it(boss: Shell) -> None:
    """A budget that cancels ends its grant; one that refuses only refuses the call."""
    for number in range(3):
        assert boss("perform", "a.b", "--op", f"o-{number}", "--grant", "g-1").code == ExitCode.OK
    refused = boss("perform", "a.b", "--grant", "g-1")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert "budget tool_calls of run r-1 has 0 left of 3" in refused.err
    assert boss.json("report", "r-1")["run"]["state"] == "ACTIVE"
    ran_out = boss("spend", "tokens", "81", "--grant", "g-1")
    assert ran_out.code == ExitCode.STOP_THE_RUN
    assert "BUDGET_EXHAUSTED" in ran_out.err
    ended = boss("spend", "tokens", "1", "--grant", "g-1")
    assert "GRANT_ENDED" in ended.err
    assert "GRANT_ENDED" in boss("why", "g-1").out


def test_what_was_used_already_is_taken_whatever_is_left(boss: Shell) -> None:
    """--incurred tells what it ends: the whole run here, with reason BUDGET."""
    boss("issue", "r-1", "--grant", "g-3", "--scope", "*")
    told = boss("spend", "tokens", "150", "--incurred", "--grant", "g-3")
    assert told.code == ExitCode.OK
    assert "tokens 0" in told.out
    assert boss.json("report", "r-1")["run"]["end"]["reason"] == "BUDGET"


def test_what_was_used_by_the_time_of_a_stop_is_in_the_journal(boss: Shell) -> None:
    """Refused, with budget and amount."""
    boss("cancel", "r-1", "--reason", "user_stop")
    assert boss("spend", "tokens", "42", "--incurred", "--grant", "g-1").code == ExitCode.STOP_THE_RUN
    line = boss("journal", "r-1").out.splitlines()[-1]
    assert "REFUSED" in line
    for told in ("verb=spend", "budget=tokens", "amount=42", "incurred=1", "reason=REVOKED"):
        assert told in line


def test_a_cost_is_held_and_given_back(boss: Shell) -> None:
    """Prepare tells what is left, and the report what is held."""
    told = boss.json("prepare", "a.b", "--op", "o-1", "--grant", "g-1", "--cost", "tokens=60")
    assert told["remaining"] == {"tokens": 20, "tool_calls": 2}
    assert "60 held for prepared actions" in boss("report", "r-1").out
    assert "Left: tokens 80, tool_calls 3." in boss("abandon", "o-1", "--grant", "g-1").out
    permit = boss("perform", "a.b", "--op", "o-2", "--grant", "g-1", "--cost", "tokens=5")
    assert "Left: tokens 75, tool_calls 2." in permit.out
    settled = boss("settle", "o-2", "--succeeded", "--grant", "g-1")
    assert "on record as SUCCEEDED. Left: tokens 75, tool_calls 2." in settled.out
    again = boss.json("settle", "o-2", "--succeeded", "--grant", "g-1")
    assert again["remaining"] == {"tokens": 75, "tool_calls": 2}


@pytest.mark.parametrize("amount", ["0", "-1", "x"])
def test_an_amount_is_a_whole_number(boss: Shell, amount: str) -> None:
    """Anything else is a mistake on the command line."""
    assert boss("spend", "tokens", amount, "--grant", "g-1").code == ExitCode.USAGE


def test_a_grant_that_waited_is_extended(boss: Shell, clock: ManualClock) -> None:
    """Also when its time is over; its kept token is replaced, and what it may do is what it was."""
    boss("issue", "r-1", "--grant", "g-3", "--scope", "a.b uses=1", "--ttl", "1s")
    clock.advance(60)
    assert "GRANT_EXPIRED" in boss("perform", "a.b", "--grant", "g-3").err
    done = boss("extend", "--grant", "g-3", "--ttl", "60s")
    assert done.code == ExitCode.OK
    assert "Grant g-3 of run r-1, good until" in done.out
    assert "a.b * uses=1" in done.out
    assert "eyJ" not in done.out + done.err
    assert boss("perform", "a.b", "--grant", "g-3").code == ExitCode.OK
    told = boss.json("extend", "--grant", "g-3", "--ttl", "1s")
    assert (told["schema"], told["replayed"]) == ("countermand.extended/v1", True)
    boss("cancel", "r-1", "--reason", "user_stop")
    refused = boss("extend", "--grant", "g-3")
    assert (refused.code, one_line(refused.err)) == (ExitCode.STOP_THE_RUN, True)
