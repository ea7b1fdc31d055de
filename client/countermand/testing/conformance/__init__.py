"""One suite for every seam through which effects leave a process: yours too.

    from countermand.testing.conformance import Conformance

    class TestMySeam(Conformance):
        seam = MySeam  # your class, derived from `Seam`

It asks of an adapter what a user may expect of it: a revoked call, a call without a grant and a call that no
sidecar answers do not run; a call in good standing runs once; faults settle honestly; and a cancel while the
effect is inside is told as in flight, then as what became of it. Needs pytest.
"""
# ruff: noqa: RUF022 - grouped by what the names are for

from countermand.testing.conformance.checks import CHECKS, CHECKS_OF_GRADE_A, Check, checks_of
from countermand.testing.conformance.seam import BlockingSeam, Fault, Grade, Seam
from countermand.testing.conformance.service import ProcessService, Service
from countermand.testing.conformance.stage import NotConforming, Stage
from countermand.testing.conformance.suite import Conformance
from countermand.testing.conformance.target import Target

__all__ = [
    # the suite, as pytest collects it
    "Conformance",
    # describe a seam
    "Seam",
    "BlockingSeam",
    "Grade",
    "Fault",
    "Target",
    # run a check without pytest
    "CHECKS",
    "CHECKS_OF_GRADE_A",
    "checks_of",
    "Check",
    "Stage",
    "NotConforming",
    # the sidecar it runs against
    "Service",
    "ProcessService",
]
