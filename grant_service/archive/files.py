"""Archive files: written whole, checksummed, sealed, and found again by run.

A file begins with a line that says what it is, holds a block for each run (its record, its entries and the
signed head of its journal, as `countermand journal export` writes them) and ends with a checksum. It appears
under its name only when it is on disk. The index beside the files can be deleted: it is made again.
"""

import hashlib
import os
import secrets
import threading
import time as clock
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from grant_service.archive import blocks
from grant_service.archive.blocks import FORMAT, Block, Doubts, damaged, line, told
from grant_service.archive.index import Index, Place
from grant_service.core.errors import StoreFailed

_ENDING = ".jsonl"

#: How long nobody has written to an unfinished file that a crash left, in seconds. Another sidecar may be at
#: work in the same directory.
_ABANDONED_AFTER = 3600

#: Two changes of a directory that lie closer together than this may have the same time, in nanoseconds.
_TIME_IS_COARSE = 2 * 10**9


class ArchiveFiles:
    """The files of one directory. Every call blocks: make it in a thread."""

    def __init__(self, directory: Path, doubts: Doubts) -> None:
        """Look through a directory; refuse a damaged file. `doubts` says which blocks not to believe."""
        self._directory, self._doubts = directory, doubts
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._index = Index(directory / "index.db")
        self._looking = threading.Lock()
        #: When the directory had last changed when it was looked through; 0 if that says too little.
        self._seen = 0
        #: Files that are damaged, as they were then: one may still be being copied here.
        self._bad: dict[str, tuple[tuple[int, int], StoreFailed]] = {}
        self.look_for_files()

    def write(self, given: Iterable[Block], time: int) -> str:
        """Put blocks into a new file; when this returns it is on disk, and found again."""
        name = f"{time:015d}-{secrets.token_hex(4)}{_ENDING}"
        path, new = self._directory / name, self._directory / f"{name}.new-{os.getpid()}"
        places: list[tuple[str, Place]] = []
        checksum, start = hashlib.sha256(), 0
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            for block, text in blocks.texts(given, time):
                file.write(text)
                checksum.update(text)
                if block:
                    places.append((block.run.run_id, Place(block.last_seq, name, start, len(text))))
                start += len(text)
            file.write(line({"sha256": checksum.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        _sync(self._directory)
        self._index.add(name, time, places)
        return name

    def look_for_files(self) -> None:
        """Bring the index up to date with the directory: files may have been put there, or taken away.

        Refuse if one is damaged: what it holds would be missing, and nobody would know.
        """
        with self._looking:
            # Its time first, and what is known: what somebody else adds meanwhile must be looked for again,
            # and must not look as if it were gone.
            changed, self._seen = self._changed(), 0
            known = self._index.names()
            there = {path.name for path in self._directory.glob(f"*{_ENDING}")}
            self._remove_abandoned()
            for name in sorted(known - there):
                self._index.forget(name)
            self._bad = {name: told for name, told in self._bad.items() if name in there}
            for name in sorted(there - known):
                self._take_in(name)
            for _, failed in self._bad.values():
                raise failed
            if clock.time_ns() - changed > _TIME_IS_COARSE:
                self._seen = changed

    def _changed(self) -> int:
        return self._directory.stat().st_mtime_ns

    def _take_in(self, name: str) -> None:
        """Read a file through, once for each state it is in, and put it into the index if it is whole."""
        stat = (self._directory / name).stat()
        state = (stat.st_mtime_ns, stat.st_size)
        if name in self._bad and self._bad[name][0] == state:
            return
        self._bad.pop(name, None)
        try:
            self._index.add(name, *self._scan(name))
        except StoreFailed as failed:
            self._bad[name] = (state, failed)
        except (KeyError, TypeError, ValueError, OverflowError):
            self._bad[name] = (state, damaged(name, "a line of it is not one of an archive"))

    def _remove_abandoned(self) -> None:
        """Remove what a crash left half-written: the store still has it all."""
        for unfinished in self._directory.glob(f"*{_ENDING}.new-*"):
            with suppress(FileNotFoundError):
                if clock.time() - unfinished.stat().st_mtime > _ABANDONED_AFTER:
                    unfinished.unlink()

    def _scan(self, name: str) -> tuple[int, list[tuple[str, Place]]]:
        """Read a file through; one whose checksum does not hold is refused."""
        places: list[tuple[str, Place]] = []
        checksum, start, time, ended = hashlib.sha256(), 0, 0, False
        with (self._directory / name).open("rb") as file:
            for one in file:
                said = told(one, name)
                if "sha256" in said:
                    ended = said["sha256"] == checksum.hexdigest()
                    break
                checksum.update(one)
                if start == 0:
                    time = _time(said, name)
                elif "record" in said:
                    places.append((str(said["run"]), Place(0, name, start, len(one))))
                elif places:
                    run_id, place = places.pop()
                    last_seq = int(said["head"]["last_seq"]) if "head" in said else 0
                    places.append((run_id, replace(place, last_seq=last_seq, size=place.size + len(one))))
                start += len(one)
            ended = ended and not file.read(1)
        if not ended:
            raise damaged(name, "its checksum does not hold")
        return time, places

    def find(self, run_id: str) -> Place | None:
        """Tell where a run is. What is not known is looked for: somebody else may have archived it since."""
        place = self._index.place(run_id)
        if place is None and self._changed() != self._seen:
            self.look_for_files()
            place = self._index.place(run_id)
        return place

    def read(self, run_id: str) -> Block | None:
        """Read a run back, or None if it is not here."""
        place = self.find(run_id)
        if place is None:
            return None
        try:
            with (self._directory / place.file).open("rb") as file:
                file.seek(place.start)
                lines = file.read(place.size).splitlines()
        except FileNotFoundError:
            self.look_for_files()  # which forgets it
            return self.read(run_id)
        except OSError as error:
            raise damaged(place.file, str(error.strerror)) from error
        return blocks.read(run_id, lines, place.file, self._doubts)

    def unwritten(self, given: Iterable[Block]) -> list[Block]:
        """Pick those that are not here already, up to this very entry, and believed."""
        with suppress(StoreFailed):  # a file that is damaged has nothing that can be relied on
            self.look_for_files()
        return [one for one in given if not self._holds(one)]

    def _holds(self, block: Block) -> bool:
        if self._index.place(block.run.run_id) is None:
            return False
        try:
            there = self.read(block.run.run_id)
        except StoreFailed:
            return False
        return there is not None and (there.run, there.entries) == (block.run, block.entries)

    def runs(self, after: str, limit: int) -> list[str]:
        """Read which runs there are, by id."""
        return self._index.runs(after, limit)

    def remove_older(self, than: int) -> list[str]:
        """Delete files written before a time; answer their names."""
        old = self._index.older(than)
        for name in old:
            (self._directory / name).unlink(missing_ok=True)
            self._index.forget(name)
        return old

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()


def _time(first: dict[str, object], name: str) -> int:
    """Read when a file was written from its first line; refuse one of another format."""
    if first.get("countermand") != FORMAT or not isinstance(time := first.get("time"), int):
        raise damaged(name, f"its first line does not say {FORMAT}")
    return time


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
