"""What the agent does to the world: rows that it writes, each under a permit of its own."""

import asyncio
from typing import Any

import countermand


class Ledger:
    """The rows that were written. It stands for a database that knows nothing of runs and requests."""

    def __init__(self, rows: int = 10, pause: float = 0.1, delay: float = 1.0) -> None:
        #: How many rows one answer writes, and the seconds before each, and before the closing one.
        self.rows, self.pause, self.delay = rows, pause, delay
        self.written: list[dict[str, Any]] = []
        self.refused: list[countermand.CountermandError] = []
        self._queue: set[asyncio.Task[None]] = set()

    async def write_rows(self) -> None:
        """The tool: write one row after the other."""
        for number in range(self.rows):
            await asyncio.sleep(self.pause)
            await self._write({"row": number})

    def enqueue_closing_row(self) -> "asyncio.Task[None]":
        """Have the closing row written later, by a queue's worker: nobody here owns that, or can stop it."""
        task = asyncio.create_task(self._close())
        self._queue.add(task)
        task.add_done_callback(self._queue.discard)
        return task

    async def _close(self) -> None:
        try:
            await self._write({"row": "closing"}, after=self.delay)
        except countermand.StopTheRun as refusal:
            self.refused.append(refusal)

    async def _write(self, row: dict[str, Any], after: float = 0.0) -> None:
        async with countermand.action("ledger.write", resource="ledger:main", args=row) as act:
            await asyncio.sleep(after)
            async with act.commit():  # the last moment at which somebody can say no
                self.written.append(row)
