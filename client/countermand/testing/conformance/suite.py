"""The suite as pytest collects it: a class to derive from."""

from collections.abc import Iterator
from typing import ClassVar

import pytest

from countermand.testing.conformance.checks import Check, checks_of
from countermand.testing.conformance.seam import Seam
from countermand.testing.conformance.service import Service, make_service, remove
from countermand.testing.conformance.stage import Stage


class Conformance:
    """Holds a seam to every rule: derive a class named `Test...` and say its `seam`.

    One sidecar and one seam serve all checks of the class. Both fixtures can be overridden.
    """

    seam: ClassVar[type[Seam]]

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

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Have one test for each rule that the seam's grade asks for."""
        if metafunc.function.__name__ == "test_conforms" and hasattr(metafunc.cls, "seam"):
            checks = checks_of(metafunc.cls.seam)
            metafunc.parametrize("check", checks, ids=[check.__name__ for check in checks])

    def test_conforms(self, conformance_stage: Stage, check: Check) -> None:
        """The seam keeps the rule."""
        conformance_stage.run(check)
