"""Whatever is done to a journal that a kept head covers is found, and the first bad entry is named."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from countermand import SignedHead
from countermand import evidence as client
from countermand.evidence import Line
from grant_service.core.compile import compile_report
from grant_service.core.evidence import head_of
from grant_service.core.journal import Entry, Kind
from grant_service.core.report import Report
from tests.evidence.support import fault, lines, signed
from tests.store.differential import Model
from tests.store.rigs import MemoryRig
from tests.store.sequences import Step, sequences

Journals = dict[str, tuple[SignedHead, list[Line]]]


async def journals(sequence: Sequence[Step]) -> Journals:
    """Play a sequence, and answer each run's head and journal."""
    rig = await MemoryRig.start()
    model = Model(rig)
    for step in sequence:
        await model.play(step)
    found = {}
    for run in rig.state.runs:
        report = await compile_report(rig.store, run)
        assert isinstance(report, Report)
        head = signed(report)[0]
        assert head.run_id == run
        found[run] = (head, lines(rig.state.entries.get(run, [])))
    return found


def tampered(told: list[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Every kind of tampering at every place."""
    for place, one in enumerate(told):
        before, after = told[:place], told[place + 1 :]
        for name, changed in edits(one):
            yield name, [*before, changed, *after]
        yield "removed", [*before, *after]
        yield "put in before it", [*before, replace(one, data={**one.data, "note": "new"}), one, *after]
        yield "said twice", [*before, one, one, *after]
        yield "cut off", before
        for other in range(place + 1, len(told)):
            moved = list(told)
            moved[place], moved[other] = told[other], told[place]
            yield "exchanged", moved
        if after:
            yield "moved to the end", [*before, *after, one]


def edits(one: Line) -> Iterator[tuple[str, Line]]:
    """An entry, changed in each of its parts."""
    yield "number", replace(one, seq=one.seq + 1)
    yield "time", replace(one, time=one.time + 1)
    yield "kind", replace(one, kind="SPENT" if one.kind != "SPENT" else "SETTLED")
    yield "run", replace(one, run_id="other")
    yield "added", replace(one, data={**one.data, "zz": ""})
    for name in one.data:
        rest = {key: value for key, value in one.data.items() if key != name}
        yield f"without {name}", replace(one, data=rest)
        yield f"other {name}", replace(one, data={**rest, name: one.data[name] + " "})
        yield f"renamed {name}", replace(one, data={**rest, name + "x": one.data[name]})


def first_bad(told: Sequence[Line], was: Sequence[Line]) -> int:
    """The first place at which two journals differ, from 1."""
    alike = zip(told, was, strict=False)
    differing = (place for place, (one, other) in enumerate(alike, 1) if one != other)
    return next(differing, min(len(told), len(was)) + 1)


@settings(max_examples=15, deadline=None)
@given(sequences())
def test_every_kind_of_tampering_at_every_place_is_found_and_named(sequence: list[Step]) -> None:
    """And what is as it was holds, whatever came after it."""
    for head, told in asyncio.run(journals(sequence)).values():
        assert fault(head, told) is None
        grown = [*told, Line(10**6, 0, head.run_id, "SPENT")]
        assert fault(head, grown) is None
        for name, changed in tampered(told[:12]):
            changed = changed + told[12:]
            found = fault(head, changed)
            assert found, name
            assert found.place == first_bad(changed, told), name
            if found.place <= len(changed):
                assert (found.seq, found.kind) == (
                    changed[found.place - 1].seq,
                    changed[found.place - 1].kind,
                )


@settings(max_examples=40, deadline=None)
@given(sequences())
def test_no_honest_journal_contradicts_itself(sequence: list[Step]) -> None:
    """What a journal is caught at without a head is never the work of the rules."""
    for run, (_, told) in asyncio.run(journals(sequence)).items():
        assert client.run_fault(run, told) is None


def chain_of(count: int) -> tuple[SignedHead, list[Line]]:
    """A long journal and its head."""
    entries = [Entry(2 * seq, seq, "r-1", Kind.SPENT, {"n": str(seq)}) for seq in range(1, count + 1)]
    made = head_of("r-1", entries)
    held = SignedHead("r-1", made.last_seq, count, made.hash, made.marks, made.stride, None, "e", "k-1", b"")
    return held, lines(entries)


@pytest.mark.parametrize("count", [4097, 8195, 9000])
def test_in_a_long_journal_the_stretch_is_named(count: int) -> None:
    """Where there is a mark for every second or fourth entry only; also in what is behind the last mark."""
    head, told = chain_of(count)
    assert client.journal_fault(head, told) is None
    for bad in (1, 2, 3, 4, 5, count // 2, count - 1, count):
        changed = [*told[: bad - 1], replace(told[bad - 1], time=0), *told[bad:]]
        found = client.journal_fault(head, changed)
        assert found
        assert found.place <= bad < found.place + head.stride
        assert "is not as it was signed" in found.text or "is not the one that was signed" in found.text
    short = client.journal_fault(head, told[:-1])
    assert short
    assert "1 more" in short.text


def test_the_fault_says_what_was_done() -> None:
    """As far as numbers, and the entries themselves, tell."""
    head, told = chain_of(9)
    cases = {
        "it was changed, or exchanged": [*told[:4], replace(told[4], data={}), *told[5:]],
        "8 entries, fewer than the head's 9: one was removed": [*told[:4], *told[5:]],
        "it was put in: the head has entry 10 (SPENT)": [*told[:4], replace(told[4], seq=9), *told[4:]],
        "it is out of order: the head has entry 10 (SPENT)": [*told[:4], *told[5:], told[4]],
        "the journal ends after entry 8 (SPENT): the head has 5 more, up to entry 18": told[:4],
        "the journal ends before its first entry": [],
    }
    for text, changed in cases.items():
        found = client.journal_fault(head, changed)
        assert found
        assert text in found.text, found
    behind = client.journal_fault(head, [*told, replace(told[0], seq=17)])
    assert behind
    assert (behind.place, behind.seq) == (10, 17)


def test_a_head_that_does_not_fit_itself_is_malformed() -> None:
    """Whoever has the key can sign nonsense; it is called that."""
    head, told = chain_of(9)
    for wrong in (
        replace(head, stride=0),
        replace(head, marks=head.marks[:-4]),
        replace(head, entry_count=0, marks=b"", last_seq=0),
    ):
        found = client.journal_fault(wrong, told if wrong.entry_count else [])
        assert found
        assert "malformed" in found.text


def line(seq: int, kind: str, time: int = 0, run: str = "r-1", **data: str) -> Line:
    """An entry of the journal r-1."""
    return Line(seq, time, run, kind, data)


OPENED = line(1, "OPENED")
CONTRADICTIONS: dict[str, tuple[list[Line], int]] = {
    "not higher than the one before it": ([OPENED, line(3, "SPENT"), line(3, "SPENT")], 3),
    "the store's time never goes back": ([line(1, "OPENED", 9), line(2, "SPENT", 8)], 2),
    "of run r-2": ([OPENED, line(2, "SPENT", run="r-2")], 2),
    "a journal begins with OPENED": ([line(2, "SPENT")], 1),
    "opened once": ([OPENED, line(2, "OPENED")], 2),
    "a run ends once": ([OPENED, line(2, "FINISHED"), line(3, "CANCELLED")], 3),
    "o-1 was not PREPARED": ([OPENED, line(2, "PERMITTED", op="o-1")], 2),
    "o-1 was not PERMITTED": ([OPENED, line(2, "PREPARED", op="o-1"), line(3, "SETTLED", op="o-1")], 3),
    "names no action": ([OPENED, line(2, "PREPARED")], 2),
    "was PREPARED before, by entry 2": (
        [OPENED, line(2, "PREPARED", op="o-1"), line(3, "PREPARED", op="o-1")],
        3,
    ),
    "ended by entry 3: nothing prepared before": (
        [OPENED, line(2, "PREPARED", op="o-1"), line(3, "CANCELLED"), line(4, "PERMITTED", op="o-1")],
        4,
    ),
    "SUCCEEDED, which is final": (
        [
            *(OPENED, line(2, "PREPARED", op="o-1"), line(3, "PERMITTED", op="o-1")),
            line(4, "SETTLED", op="o-1", outcome="SUCCEEDED"),
            line(5, "SETTLED", op="o-1", outcome="FAILED"),
        ],
        5,
    ),
    "FAILED, which is final": (
        [
            *(OPENED, line(2, "PREPARED", op="o-1"), line(3, "PERMITTED", op="o-1")),
            line(4, "RESOLVED", op="o-1", outcome="FAILED"),
            line(5, "SETTLED", op="o-1", outcome="SUCCEEDED"),
        ],
        5,
    ),
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_a_journal_that_contradicts_itself_is_caught_without_a_head(text: str) -> None:
    """The entry is named, and what it contradicts."""
    told, place = CONTRADICTIONS[text]
    found = client.run_fault("r-1", told)
    assert found
    assert text in found.text
    assert (found.place, found.seq, found.kind) == (place, told[place - 1].seq, told[place - 1].kind)


def test_whoever_says_the_same_again_contradicts_nothing() -> None:
    """A tool may agree with what somebody else found out, and name another job of what it said before."""
    told = [OPENED, line(2, "PREPARED", op="o-1"), line(3, "PERMITTED", op="o-1")]
    said = [
        ("SETTLED", "UNKNOWN"),
        ("RESOLVED", "SUCCEEDED"),
        ("SETTLED", "SUCCEEDED"),
        ("SETTLED", "SUCCEEDED"),
    ]
    told += [line(4 + n, kind, op="o-1", outcome=outcome) for n, (kind, outcome) in enumerate(said)]
    assert client.run_fault("r-1", told) is None


def test_what_a_later_version_writes_is_no_contradiction() -> None:
    """Kinds that are not known are let pass, and so is the journal of the fences."""
    assert client.run_fault("r-1", [OPENED, line(2, "SOMETHING_NEW", op="o-1"), line(3, "CANCELLED")]) is None
    assert client.run_fault("_fences", [line(5, "FROZEN", run="_fences")]) is None
