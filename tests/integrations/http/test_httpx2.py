"""httpx2 keeps every rule of the conformance suite."""

from countermand.testing.conformance import Conformance
from tests.integrations.http.clients import AsyncHttpx2, Httpx2
from tests.integrations.http.seam import seam_of


class TestAsyncHttpx2(Conformance):
    seam = seam_of(AsyncHttpx2)


class TestHttpx2(Conformance):
    seam = seam_of(Httpx2)
