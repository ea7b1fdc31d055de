"""The incident of a night, played through the command line alone: look, press, hold, explain, lift."""

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell, one_line

MAIL = ("--tenant", "acme", "--action", "email.*")


@pytest.fixture
def night(real: Sidecar, shell: Shell) -> Shell:
    """Two mailers and a helpdesk of acme, and a mailer of somebody else; all of them at work."""
    for run, tenant, agent, scope in (
        ("r-mail", "acme", "newsletter", "email.*"),
        ("r-wide", "acme", "assistant", "*"),
        ("r-desk", "acme", "helpdesk", "ticket.*"),
        ("r-other", "globex", "newsletter", "email.*"),
    ):
        shell("open", "--run", run, "--tenant", tenant, "--agent", agent, "--subject", "ann")
        shell("issue", run, "--grant", f"g{run[1:]}", "--scope", scope)
    shell("prepare", "email.send", "--op", "o-next", "--grant", "g-mail", "--resource", "mailto:b@x.example")
    shell("perform", "email.send", "--op", "o-going", "--grant", "g-wide", "--use-within", "5s")
    return shell


def test_everything_that_can_send_mail_for_one_tenant_is_stopped(night: Shell, clock: ManualClock) -> None:
    """A dry run stops nothing; the freeze holds, is explained and is lifted; what it killed stays dead."""
    # Look. The service counts, and nothing is stopped.
    told = night.json("freeze", *MAIL, "--reason", "incident", "--dry-run")
    assert told["dry_run"] is True
    assert told["fence"] is None
    hit = told["hit"]
    assert (hit["run_count"], hit["grant_count"], hit["complete"]) == (2, 2, True)
    assert (hit["prepared_count"], hit["in_flight_count"]) == (1, 1)
    assert [(row["tenant"], row["action"]) for row in hit["rows"]] == [("acme", "email.send")]
    assert {one["run_id"] for one in hit["samples"]} == {"r-mail", "r-wide"}
    assert night.json("fences")["fences"] == []
    assert night("commit", "o-next", "--grant", "g-mail").code == ExitCode.OK
    night("prepare", "email.send", "--op", "o-later", "--grant", "g-mail")

    # Press.
    pressed = night(
        *("freeze", *MAIL, "--reason", "incident", "--note", "wrong template", "--id", "f-1"),
        *("--yes", "--expect", "2"),
    )
    assert pressed.code == ExitCode.OK
    assert "Frozen: email.* of tenant acme" in pressed.out
    assert "by ada (operator): INCIDENT" in pressed.out
    assert "2 runs with 2 live grants" in pressed.out

    # It holds: what was given before is dead, what is given later is refused, and the rest goes on.
    refused = night("commit", "o-later", "--grant", "g-mail")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert one_line(refused.err)
    assert all(told in refused.err for told in ("f-1", "ada", "INCIDENT", "wrong template", "FENCED"))
    assert night("perform", "email.send", "--grant", "g-wide").code == ExitCode.STOP_THE_RUN
    assert night("issue", "r-mail", "--grant", "g-new", "--scope", "email.send").code == ExitCode.STOP_THE_RUN
    assert night("issue", "r-wide", "--grant", "g-wide-2", "--scope", "*").code == ExitCode.OK
    assert night("perform", "email.send", "--grant", "g-wide-2").code == ExitCode.STOP_THE_RUN
    assert night("perform", "files.read", "--grant", "g-wide").code == ExitCode.OK
    assert night("perform", "ticket.create", "--grant", "g-desk").code == ExitCode.OK
    assert night("perform", "email.send", "--grant", "g-other").code == ExitCode.OK

    # Explain.
    why = night("why", "r-mail/o-later")
    assert why.code == ExitCode.STOP_THE_RUN
    assert len(why.out.splitlines()) == 4  # and what happened, in order
    for said in ("fence f-1", "freeze of email.* of tenant acme", "ada", "wrong template", "lift f-1"):
        assert said in why.out
    assert night("why", "g-desk").code == ExitCode.OK
    assert [one["fence_id"] for one in night.json("fences")["fences"]] == ["f-1"]
    assert "1 fence stands over it" in night("report", "r-mail").out

    # Lift. New authority works; what was given before stays dead, and so does what was prepared under it.
    lifted = night("lift", "f-1", "--note", "template mended")
    assert lifted.code == ExitCode.OK
    assert night("issue", "r-mail", "--grant", "g-new", "--scope", "email.send").code == ExitCode.OK
    assert night("perform", "email.send", "--grant", "g-new").code == ExitCode.OK
    assert night("commit", "o-later", "--grant", "g-mail").code == ExitCode.STOP_THE_RUN
    assert night("perform", "email.send", "--grant", "g-wide").code == ExitCode.STOP_THE_RUN
    assert night("why", "r-mail/o-later").out.splitlines()[0].endswith("issue a new grant [FENCED]")
    assert night.json("fences")["fences"] == []
    kinds = [line["kind"] for line in night("journal", "_fences", "--output", "jsonl").lines]
    assert kinds == ["FROZEN", "LIFTED"]


def test_a_freeze_ends_by_itself_and_what_it_killed_stays_dead(night: Shell, clock: ManualClock) -> None:
    """With --for nobody has to remember to lift it."""
    assert night("freeze", *MAIL, "--reason", "incident", "--for", "2m", "--yes").code == ExitCode.OK
    assert night("issue", "r-mail", "--grant", "g-new", "--scope", "email.send").code == ExitCode.STOP_THE_RUN
    clock.advance("121s")
    assert night("issue", "r-mail", "--grant", "g-new", "--scope", "email.send").code == ExitCode.OK
    assert night("commit", "o-next", "--grant", "g-mail").code == ExitCode.STOP_THE_RUN
    assert [one["state"] for one in night.json("fences", "--all")["fences"]] == ["EXPIRED"]


def test_a_revoke_kills_what_was_issued_and_nothing_else(night: Shell) -> None:
    """The way on is a new grant, and the command says so."""
    told = night("revoke", *MAIL, "--reason", "policy", "--id", "f-2", "--yes")
    assert told.code == ExitCode.OK
    assert "What is issued from now on can" in told.out
    assert night("commit", "o-next", "--grant", "g-mail").code == ExitCode.STOP_THE_RUN
    assert "issue a new grant" in night("why", "r-mail/o-next").out
    assert night("issue", "r-mail", "--grant", "g-new", "--scope", "email.send").code == ExitCode.OK
    assert night("perform", "email.send", "--grant", "g-new").code == ExitCode.OK
    lift = night("lift", "f-2", "--note", "no")
    assert lift.code == ExitCode.FIX_THE_CALL
    assert "FENCE_NOT_LIFTABLE" in lift.err
