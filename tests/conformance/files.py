"""Files that are put in their place under a permit, as the conformance suite sees them."""

import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import countermand
import countermand.sync
from countermand._files import Staged
from countermand.testing.conformance import BlockingSeam, Fault, Grade, Seam


class OnDisk(Seam):
    """Each effect is a file in a folder of its own. What the disk suffers, it suffers behind the rename."""

    grade = Grade.B
    action = "file.write"
    raised = countermand.Outcome.FAILED  # a rename that raises did nothing

    async def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cm-files-"))
        self._faults: dict[str, Fault | None] = {}
        self._released: dict[str, threading.Event] = {}
        self._sync_place, seam = Staged.sync_place, self

        def sync_place(staged: Staged) -> None:
            seam._suffer(staged._place.name)
            seam._sync_place(staged)

        Staged.sync_place = sync_place

    async def close(self) -> None:
        Staged.sync_place = self._sync_place
        shutil.rmtree(self._folder)

    def _suffer(self, key: str) -> None:
        if self._faults.get(key) is Fault.LOST:
            raise OSError("the disk does not answer, as it was asked to")
        if self._faults.get(key) is Fault.HELD:
            assert self._released.setdefault(key, threading.Event()).wait(60)

    def begin(self, key: str, fault: Fault | None) -> Path:
        self._faults[key] = fault
        return self._folder / key

    def happened(self, key: str) -> int:
        return int((self._folder / key).is_file())

    def release(self, key: str) -> None:
        self._released.setdefault(key, threading.Event()).set()


class StagedFile(OnDisk):
    name = "countermand.staged_file, async"

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        path = self.begin(key, fault)
        async with countermand.staged_file(path) as file:
            file.write(b"new")
            if fault is Fault.RAISED:
                path.mkdir()  # so that nothing can be put there

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        async with countermand.staged_file(self.begin(key, None)) as file:
            file.write(b"new")
            await stop()


class BlockingStagedFile(OnDisk, BlockingSeam):
    name = "countermand.staged_file"

    def act(self, key: str, fault: Fault | None) -> None:
        path = self.begin(key, fault)
        with countermand.sync.staged_file(path) as file:
            file.write(b"new")
            if fault is Fault.RAISED:
                path.mkdir()

    def act_late(self, key: str, stop: Callable[[], None]) -> None:
        with countermand.sync.staged_file(self.begin(key, None)) as file:
            file.write(b"new")
            stop()
