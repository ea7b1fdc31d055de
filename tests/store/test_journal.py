"""The journal: one line for each decision, numbered in the order of the decisions, read in pages."""

from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason
from grant_service.core.journal import Entry
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import HOUR, SECOND, Player, digest, done, intent, refused
from tests.store.rigs import START


async def test_a_story_is_told_line_by_line(play: Player) -> None:
    """Every verb leaves exactly its own line, with number, time and particulars; empty ones are left out."""
    await play.open("a", ttl_ms=HOUR, subject="u-7", labels={"b": "2", "a": "1"})
    await play.open("b", parent="a", ttl_ms=HOUR)
    await play.rig.advance(SECOND)
    grant = await play.issue("b", scopes=(Scope("email.*", "*", 2, Reversibility.COMPENSABLE),))
    wanted = intent(resource="", reversibility=Reversibility.REVERSIBLE)
    done(await play.prepare(grant, wanted))
    done(await play.commit(grant))
    done(await play.settle(grant, outcome=ActionState.FAILED, note="no"))
    refused(await play.abandon(grant), ErrorReason.ALREADY_SETTLED)
    await play.cancel("a", StopReason.POLICY, actor="")
    done(await play.finish("b", note="bye"))
    end, after = str(START + HOUR), START + SECOND
    opened = {"subject": "u-7", "labels": '{"a":"1","b":"2"}', "deadline": end}
    refusal = {"verb": "abandon", "reason": "ALREADY_SETTLED", "op": "op", "grant": "grant"}
    asked = {"op": "op", "grant": "grant", "action": "email.send", "digest": digest()}
    asked |= {"undo_until": str(after + HOUR)}
    scopes = '[["email.*","*",2,"COMPENSABLE",""]]'
    assert _lines(await play.journal("a")) == [
        (1, START, "OPENED", opened),
        (3, START, "CHILD_OPENED", {"child": "b"}),
        (9, after, "CANCELLED", {"reason": "POLICY"}),
    ]
    assert _lines(await play.journal("b")) == [
        (2, START, "OPENED", {"parent": "a", "deadline": end}),
        (4, after, "ISSUED", {"grant": "grant", "audience": "tool", "scopes": scopes, "expire": end}),
        (5, after, "PREPARED", asked | {"reversibility": "REVERSIBLE", "expire": str(after + 60 * SECOND)}),
        (6, after, "PERMITTED", {"op": "op", "use_by": str(after + 5 * SECOND)}),
        (7, after, "SETTLED", {"op": "op", "outcome": "FAILED", "note": "no"}),
        (8, after, "REFUSED", refusal | {"action": "email.send", "state": "FAILED"}),
        (10, after, "FINISHED", {"note": "bye"}),
    ]


def _lines(entries: list[Entry]) -> list[tuple[int, int, str, dict[str, str]]]:
    return [(entry.seq, entry.time, entry.kind.value, dict(entry.data)) for entry in entries]


async def test_replays_and_reading_leave_no_line(play: Player) -> None:
    """What changes nothing is not written."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant))
    await play.cancel()
    before = await play.rig.dump()
    assert done(await play.settle(grant)).replayed
    assert (await play.cancel()).replayed
    await play.store.runs(["run"])
    await play.store.run_ids(0, 10)
    await play.journal()
    await play.store.standing()
    assert (await play.rig.dump()).differences(before) == []


async def test_numbers_are_the_stores_not_the_runs(play: Player) -> None:
    """Over all runs each number is given once, in the order of the decisions, without gaps."""
    for run in ("a", "b", "c"):
        await play.open(run)
    for _ in range(3):
        for run in ("c", "a", "b"):
            grant = await play.issue(run, grant=f"g-{run}")
            refused(await play.commit(grant), ErrorReason.ACTION_UNKNOWN)
    journals = [await play.journal(run) for run in ("a", "b", "c")]
    seqs = sorted(entry.seq for journal in journals for entry in journal)
    assert seqs == list(range(1, len(seqs) + 1))
    assert await play.rig.last_seq() == seqs[-1]


async def test_a_journal_is_read_in_pages(play: Player) -> None:
    """Each page goes on after the last number of the one before; other runs' lines are not in it."""
    grant = await play.ready()
    for op in range(10):
        await play.open(f"other-{op}")
        done(await play.perform(grant, f"op-{op}"))
    whole = await play.journal()
    assert len(whole) == 22
    pages, after = [], 0
    while page := await play.store.journal("run", after, 5):
        assert len(page) <= 5
        pages += page
        after = page[-1].seq
    assert pages == whole
    assert await play.store.journal("run", whole[7].seq, 3) == whole[8:11]
    assert await play.store.journal("run", whole[7].seq + 1, 1) in (whole[8:9], whole[9:10])
    assert await play.store.journal("run", whole[-1].seq, 5) == []


async def test_a_run_nobody_knows_has_no_journal(play: Player) -> None:
    """Reading it is no error."""
    assert await play.store.journal("nobody", 0, 10) == []


async def test_the_journal_of_a_tombstone_is_its_cancel(play: Player) -> None:
    """Who cancelled what was not there yet is on record."""
    await play.cancel("later", note="too soon")
    (entry,) = await play.journal("later")
    assert (entry.kind, dict(entry.data)) == (
        "CANCELLED",
        {"reason": "USER_STOP", "actor": "u-7", "note": "too soon"},
    )


async def test_words_come_back_letter_by_letter(play: Player) -> None:
    """Quotes, line breaks, accents, emoji and control characters are kept as they were said."""
    words = "\"'\\ \n\r\t \x00\x1f\x7f \u00e9e\u0301 \U0001f600 \u202e \uffff {}[],=%s $1 nil"
    await play.open(subject=words, agent=words, tenant=words, labels={words: words})
    run = await play.read()
    assert (run.subject, run.agent, run.tenant, run.labels) == (words, words, words, {words: words})
    await play.cancel(actor=words, note=words, tag=words)
    entry = (await play.journal())[-1]
    assert dict(entry.data) == {"reason": "USER_STOP", "actor": words, "note": words, "tag": words}
    assert refused(await play.try_open(), ErrorReason.REVOKED)["note"] == words
