"""The client's own seams, as the conformance suite sees them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import countermand
import countermand.sync
from countermand import Outcome
from countermand.cli.exit_codes import ExitCode
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


class Exec(OnTarget, BlockingSeam):
    """The effect is a command's, which has a grace to end after a stop; what it then did nobody knows."""

    name = "countermand exec"
    cancelled = Outcome.UNKNOWN

    def entered(self, key: str) -> bool:
        return self.target.entered(key)  # before, a stop ends it at once

    def act(self, key: str, fault: Fault | None) -> None:
        token = countermand.sync.current_grant().token().reveal()
        careful = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        effect = f"from countermand.testing.conformance import Target; Target({str(self.target.folder)!r})"
        run = [sys.executable, "-c", "import sys; from countermand.cli import main; sys.exit(main())"]
        run += ["exec", "--action", self.action, "--grace", "20s", "--"]
        run += [sys.executable, "-c", f"{careful}; {effect}.hit({key!r}, {str(fault or '')!r})"]
        told = {"COUNTERMAND_HOME": str(self.home), "COUNTERMAND_GRANT_TOKEN": token}
        done = subprocess.run(run, env=os.environ | told, capture_output=True, text=True, check=False)
        if done.returncode in (ExitCode.STOP_THE_RUN, ExitCode.FIX_THE_CALL, ExitCode.TRY_AGAIN):
            raise countermand.CountermandError(done.stderr)
        if done.returncode:
            raise RuntimeError(done.stderr)
