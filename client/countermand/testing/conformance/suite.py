"""The suite as pytest collects it: a class to derive from."""

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from countermand.testing.conformance.checks import CHECKS, Check
from countermand.testing.conformance.seam import Seam
from countermand.testing.conformance.service import Service, make_service, remove
from countermand.testing.conformance.stage import Stage


class Conformance:
    """Holds a seam to every rule: derive a class named `Test...` and say its `seam`.

    One sidecar and one seam serve all checks of the class. Both fixtures can be overridden.
    """

    #: What makes it: its class.
    seam: ClassVar[Callable[[], Seam]]

    @pytest.fixture(scope="class")
    @classmethod
    def conformance_service(cls) -> Iterator[Service]:
        """The sidecar that the adapter asks: of this process, or of the command in COUNTERMAND_SIDECAR."""
        service = make_service()
        try:
            service.start()
            yield service
        finally:
            remove(service)

    @pytest.fixture(scope="class")
    @classmethod
    def conformance_stage(cls, conformance_service: Service) -> Iterator[Stage]:
        """The seam, started."""
        with Stage(cls.seam(), conformance_service) as stage:
            yield stage

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conforms(self, conformance_stage: Stage, check: Check) -> None:
        """The seam keeps the rule."""
        conformance_stage.run(check)
