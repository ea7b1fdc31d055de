"""aiohttp keeps every rule of the conformance suite."""

from countermand.testing.conformance import Conformance
from tests.integrations.http.clients import Aiohttp
from tests.integrations.http.seam import seam_of


class TestAiohttp(Conformance):
    seam = seam_of(Aiohttp)
