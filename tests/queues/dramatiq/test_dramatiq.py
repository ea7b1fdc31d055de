"""The seam of dramatiq keeps every rule, with a real worker and a real Redis."""

from dramatiq.results import ResultFailure

from countermand import CountermandError
from countermand.testing.conformance import Conformance
from tests.queues.dramatiq.bench import DramatiqBench
from tests.queues.support.suite import JobChecks, QueueSeam


class DramatiqSeam(QueueSeam):
    name = "dramatiq"
    make = DramatiqBench
    refusals = (CountermandError, ResultFailure)


class TestDramatiq(JobChecks, Conformance):
    seam = DramatiqSeam
