"""requests keeps every rule of the conformance suite."""

from countermand.testing.conformance import Conformance
from tests.integrations.http.clients import Requests
from tests.integrations.http.seam import seam_of


class TestRequests(Conformance):
    seam = seam_of(Requests)
