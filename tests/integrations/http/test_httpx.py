"""httpx keeps every rule of the conformance suite."""

from countermand.testing.conformance import Conformance
from tests.integrations.http.clients import AsyncHttpx, Httpx
from tests.integrations.http.seam import seam_of


class TestAsyncHttpx(Conformance):
    seam = seam_of(AsyncHttpx)


class TestHttpx(Conformance):
    seam = seam_of(Httpx)
