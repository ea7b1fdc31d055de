"""The client's own seams keep every rule of the conformance suite."""

from countermand.testing.conformance import Conformance
from tests.conformance.files import BlockingStagedFile, StagedFile
from tests.conformance.seams import (
    BlockingPerform,
    BlockingTool,
    BlockingTransaction,
    Exec,
    Perform,
    Tool,
    Transaction,
)


class TestTool(Conformance):
    seam = Tool


class TestBlockingTool(Conformance):
    seam = BlockingTool


class TestPerform(Conformance):
    seam = Perform


class TestBlockingPerform(Conformance):
    seam = BlockingPerform


class TestTransaction(Conformance):
    seam = Transaction


class TestBlockingTransaction(Conformance):
    seam = BlockingTransaction


class TestStagedFile(Conformance):
    seam = StagedFile


class TestBlockingStagedFile(Conformance):
    seam = BlockingStagedFile


class TestExec(Conformance):
    seam = Exec
