"""The seam of arq keeps every rule, with a real worker and a real Redis."""

from countermand import Outcome
from countermand.testing.conformance import Conformance
from tests.queues.arq.bench import ArqBench
from tests.queues.support.suite import JobChecks, QueueSeam


class ArqSeam(QueueSeam):
    name = "arq"
    make = ArqBench
    cancelled = Outcome.UNKNOWN  # a stop interrupts the body

    def release(self, key: str) -> None:
        """Nobody lets it go on: the stop ends it, if it is not too late for that."""


class TestArq(JobChecks, Conformance):
    seam = ArqSeam
