"""The seam of celery keeps every rule, with a real worker and a real Redis."""

from countermand.testing.conformance import Conformance
from tests.queues.celery.bench import CeleryBench
from tests.queues.support.suite import JobChecks, QueueSeam


class CelerySeam(QueueSeam):
    name = "celery"
    make = CeleryBench


class TestCelery(JobChecks, Conformance):
    seam = CelerySeam
