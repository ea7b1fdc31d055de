"""The client's own seams, as the conformance suite sees them."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import countermand
import countermand.sync
from countermand.testing.conformance import BlockingSeam, Fault, Grade, Seam, Target


class OnTarget(Seam):
    """Effects on a target in files, in a folder of its own."""

    grade = Grade.B
    action = "conformance.hit"

    async def start(self) -> None:
        self.target = Target(tempfile.mkdtemp(prefix="cm-target-"))

    async def close(self) -> None:
        shutil.rmtree(self.target.folder)

    def happened(self, key: str) -> int:
        return self.target.happened(key)

    def release(self, key: str) -> None:
        self.target.release(key)


class Tool(OnTarget):
    name = "countermand.tool, async"

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        @countermand.tool(self.action)
        async def hit(key: str, fault: str) -> None:
            await self.target.hit_async(key, fault)

        await hit(key, fault or "")


class BlockingTool(OnTarget, BlockingSeam):
    name = "countermand.tool"

    def act(self, key: str, fault: Fault | None) -> None:
        countermand.tool(self.action)(lambda key, fault: self.target.hit(key, fault))(key, fault or "")


class Perform(OnTarget):
    name = "countermand.perform, async"

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action, args={"key": key}):
            await self.target.hit_async(key, fault)


class BlockingPerform(OnTarget, BlockingSeam):
    name = "countermand.perform"

    def act(self, key: str, fault: Fault | None) -> None:
        with countermand.sync.perform(self.action, args={"key": key}):
            self.target.hit(key, fault)


class Transaction(OnTarget):
    name = "countermand.transaction, async"

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.transaction(self.action, args={"key": key}) as tx:
            tx.stage(self.target.hit_async, key, fault)

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        async with countermand.transaction(self.action, args={"key": key}) as tx:
            tx.stage(self.target.hit_async, key)
            await stop()


class BlockingTransaction(OnTarget, BlockingSeam):
    name = "countermand.transaction"

    def act(self, key: str, fault: Fault | None) -> None:
        with countermand.sync.transaction(self.action, args={"key": key}) as tx:
            tx.stage(self.target.hit, key, fault)

    def act_late(self, key: str, stop: Callable[[], None]) -> None:
        with countermand.sync.transaction(self.action, args={"key": key}) as tx:
            tx.stage(self.target.hit, key)
            stop()
