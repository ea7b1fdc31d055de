"""Whoever can write to the directory, and has no key, cannot make a past that is believed.

The forger here does all that can be done without a key: chain, head and checksum fit what was changed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from grant_service.archive.files import ArchiveFiles
from grant_service.archive.seals import Seals
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run, RunState
from tests.archive.support import SEALS, STANDING, Forger, seals

KINDS = (Kind.OPENED, Kind.ISSUED, Kind.PREPARED, Kind.CANCELLED)


def story(run_id: str) -> tuple[Run, list[Entry]]:
    """A run and its journal."""
    run = Run(
        run_id, subject="u-7", state=RunState.CANCELLED, open_seq=1, end_seq=4, actions=1, marks=("run=r",)
    )
    entries = [Entry(seq, 1000 + seq, run_id, kind, {"note": run_id}) for seq, kind in enumerate(KINDS, 1)]
    return run, entries


def change_an_entry(forger: Forger) -> None:
    """Another note."""
    forger.blocks["r"].entries[2]["data"]["note"] = "nothing"


def cut_the_end_off(forger: Forger) -> None:
    """It was never stopped."""
    forger.blocks["r"].entries.pop()


def put_an_entry_in(forger: Forger) -> None:
    """Somebody else did it."""
    entries = forger.blocks["r"].entries
    entries.insert(3, {**entries[2], "kind": "PERMITTED"})


def change_places(forger: Forger) -> None:
    """What came second comes first."""
    entries = forger.blocks["r"].entries
    entries[1], entries[2] = entries[2], entries[1]


def empty_it(forger: Forger) -> None:
    """Nothing happened."""
    forger.blocks["r"].entries.clear()


def change_the_record(forger: Forger) -> None:
    """The journal stays: another subject had the run."""
    forger.blocks["r"].first["record"]["subject"] = "u-8"


def change_a_count_of_the_record(forger: Forger) -> None:
    """So that no gap shows."""
    forger.blocks["r"].first["record"]["actions"] = "0"


def change_the_head(forger: Forger) -> None:
    """It was signed in another epoch."""
    forger.blocks["r"].last["head"]["store_epoch"] = "another"


def pass_off_an_old_head(forger: Forger) -> None:
    """Every report hands out a head that verifies; the seal is the one that was there."""
    told = forger.blocks["r"]
    told.entries = told.entries[:2]
    old = SEALS.block(story("r")[0], [told.entry(0), told.entry(1)], STANDING)
    told.last["head"] = dict(old.head)


def exchange_the_journals(forger: Forger) -> None:
    """Each of them is genuine."""
    mine, other = forger.blocks["r"], forger.blocks["s"]
    mine.entries, other.entries = other.entries, mine.entries
    mine.last, other.last = other.last, mine.last


def tell_it_of_another_run(forger: Forger) -> None:
    """What s did, told as what r did."""
    other = forger.blocks.pop("s")
    other.first["run"] = other.first["record"]["run"] = other.last["head"]["run_id"] = "r"
    for entry in other.entries:
        entry["run"] = "r"
    forger.blocks["r"] = other


def exchange_the_seals(forger: Forger) -> None:
    """A seal of ours, and of another run."""
    forger.blocks["r"].last["seal"] = forger.blocks["s"].last["seal"]


def sign_it_oneself(forger: Forger) -> None:
    """With a key of one's own, by the name of ours."""
    _with_own_key(forger, seals(99))


def sign_it_by_another_name(forger: Forger) -> None:
    """With a key of one's own, by its own name."""
    _with_own_key(forger, seals(99, "k-99"))


def _with_own_key(forger: Forger, own: Seals) -> None:
    told = forger.blocks["r"]
    told.entries.pop()
    made = own.block(story("r")[0], [told.entry(number) for number in range(3)], STANDING)
    told.last = {"head": dict(made.head), "seal": made.seal}


def leave_the_seal_empty(forger: Forger) -> None:
    """No signature at all."""
    forger.blocks["r"].last["seal"] = ""


def leave_the_seal_out(forger: Forger) -> None:
    """As if it came from a version that made none."""
    del forger.blocks["r"].last["seal"]


def make_the_seal_no_text(forger: Forger) -> None:
    """What cannot be read is not believed either."""
    forger.blocks["r"].last["seal"] = ["a"]


FORGERIES: list[Callable[[Forger], None]] = [
    change_an_entry,
    cut_the_end_off,
    put_an_entry_in,
    change_places,
    empty_it,
    change_the_record,
    change_a_count_of_the_record,
    change_the_head,
    pass_off_an_old_head,
    exchange_the_journals,
    tell_it_of_another_run,
    exchange_the_seals,
    sign_it_oneself,
    sign_it_by_another_name,
    leave_the_seal_empty,
    leave_the_seal_out,
    make_the_seal_no_text,
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An archive of two runs, closed."""
    files = ArchiveFiles(tmp_path, SEALS.doubt)
    files.write([SEALS.block(*story(run_id), STANDING) for run_id in "rs"], 5)
    files.close()
    return tmp_path


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_no_past_is_believed_that_no_key_of_ours_sealed(
    directory: Path, forge: Callable[[Forger], None]
) -> None:
    """The refusal names the file, the run and the way out."""
    forger = Forger(directory)
    forge(forger)
    for told in forger.blocks.values():
        told.fit()
    forger.put()
    files = ArchiveFiles(directory, SEALS.doubt)
    with pytest.raises(StoreFailed) as failed:
        files.read("r")
    refusal = failed.value.refusal
    assert refusal.reason is ErrorReason.STORE_UNFIT
    assert forger.path.name in refusal.details["cause"]
    assert "run r" in refusal.details["cause"]
    assert refusal.details["remedy"]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_forgery_is_well_made(directory: Path, forge: Callable[[Forger], None]) -> None:
    """The control: without seals it would be believed, but for what is no block at all."""
    forger = Forger(directory)
    forge(forger)
    for told in forger.blocks.values():
        told.fit()
    forger.put()
    files = ArchiveFiles(directory, lambda *_: None)
    if forge is leave_the_seal_out:
        with pytest.raises(StoreFailed):
            files.read("r")
    else:
        assert files.read("r") is not None


def test_what_nobody_changed_is_believed(directory: Path) -> None:
    """The other control: writing the same again, without an index, changes nothing."""
    Forger(directory).put()
    files = ArchiveFiles(directory, SEALS.doubt)
    assert [files.read(one) for one in "rs"] == [SEALS.block(*story(one), STANDING) for one in "rs"]


def test_an_older_block_of_the_same_run_is_told_from_by_nobody_who_has_the_newer(directory: Path) -> None:
    """Both are ours. The name of a file, which anybody can change, decides nothing."""
    files = ArchiveFiles(directory, SEALS.doubt)
    run, entries = story("r")
    old = files.write([SEALS.block(run, entries[:2], STANDING)], 4)
    (directory / old).rename(directory / ("9" + old[1:]))
    files.look_for_files()
    assert files.read("r") == SEALS.block(run, entries, STANDING)


def test_what_a_retired_key_sealed_is_believed_for_as_long_as_its_public_half_is_there(
    directory: Path,
) -> None:
    """And without it the refusal says which file is wanted."""
    after = seals(7, "k-2", retired=SEALS._keyring)
    assert ArchiveFiles(directory, after.doubt).read("r") == SEALS.block(*story("r"), STANDING)
    with pytest.raises(StoreFailed) as failed:
        ArchiveFiles(directory, seals(7, "k-2").doubt).read("r")
    assert "k-1.pub" in failed.value.refusal.details["remedy"]
