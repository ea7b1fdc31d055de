"""The rules of the adapters to HTTP clients: what is a write, what it acts on, what came of it."""

import pytest

from countermand import Outcome, digest
from countermand.integrations._http.call import Call
from countermand.integrations._http.outcome import outcome_of, receipt_of
from countermand.integrations._http.sending import Rules
from grant_service.core.scope import resource_fault


def call(method: str = "POST", url: str = "https://api.example.com/x", **headers: str) -> Call:
    """Describe a request."""
    return Call.of(method, url, [(name.replace("_", "-"), value) for name, value in headers.items()], b"")


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://api.example.com", "https://api.example.com/"),
        ("https://api.example.com/v1/x?token=s3cret#top", "https://api.example.com/v1/x"),
        ("https://ann:s3cret@api.example.com/x", "https://api.example.com/x"),
        ("https://ann@evil.example.com@api.example.com/x", "https://api.example.com/x"),
        ("https://API.example.com:443/x", "https://api.example.com/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://api.example.com:443/x", "http://api.example.com:443/x"),
    ],
)
def test_a_resource_has_one_spelling_and_no_secrets(url: str, resource: str) -> None:
    """A scope that names a host and a path is about this request, and the journal can hold it."""
    told = call(url=url)
    assert told.resource == resource
    assert resource_fault(resource) is None
    assert "s3cret@" not in str(told.args["url"])


@pytest.mark.parametrize(
    "path", ["/a/../b", "/a//b", "/a%2Fb", "/%61", "/a*", "/a\\b", "/a%2e%2e/b", "/%2525", "/" + "x" * 512]
)
def test_what_has_a_second_spelling_is_refused_not_repaired(path: str) -> None:
    """The sidecar says so; a mapping can name what is meant."""
    assert resource_fault(call(url=f"https://api.example.com{path}").resource)


def test_a_permit_is_for_this_request_and_no_other() -> None:
    """Another method, URL, query or body is another digest; a user in the URL is not."""
    same = [call(), call(url="https://ann:pw@api.example.com/x")]
    others = [
        call(),
        call("PUT"),
        call(url="https://api.example.com/y"),
        call(url="https://api.example.com/x?all=1"),
        Call.of("POST", "https://api.example.com/x", [], b"x"),
        Call.of("POST", "https://api.example.com/x", [], iter(())),
    ]
    assert len({digest(one.args) for one in same}) == 1
    assert len({digest(one.args) for one in others}) == len(others)


def test_only_these_are_reads() -> None:
    """What promises to change nothing, has no second meaning, and is known to every server."""
    assert all(call(method).is_read for method in ("GET", "HEAD", "OPTIONS"))
    assert not any(call(method).is_read for method in ("POST", "get", "TRACE", "QUERY", "CONNECT", "BREW"))
    assert not call("GET", X_HTTP_Method_Override="GET").is_read
    assert not call("GET", Upgrade="websocket").is_read


def test_a_read_needs_no_permit_unless_it_is_wanted() -> None:
    """Then it is declared as one."""
    assert Rules().sending(call("GET")) is None
    asked = Rules(reads=True).sending(call("GET"))
    assert asked
    assert (asked.told["name"], asked.told["reversibility"]) == ("http.get", "READ_ONLY")


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 202, 204, 303), Outcome.SUCCEEDED),
        ((307, 308, 400, 401, 403, 404, 409, 410, 412, 422, 425, 429), Outcome.FAILED),
        ((101, 207, 300, 301, 302, 304, 408, 500, 501, 502, 503, 504, 600, 0), Outcome.UNKNOWN),
    ],
)
def test_a_status_says_no_more_than_it_does(statuses: tuple[int, ...], outcome: Outcome) -> None:
    """And whatever is not plainly done has its reason."""
    for status in statuses:
        told, note = outcome_of(status)
        assert told is outcome
        assert note.startswith(f"HTTP {status}")
        assert outcome is Outcome.SUCCEEDED or ": " in note


def test_a_receipt_is_the_targets_own_name_for_it() -> None:
    """Where it is found first; without a query, which may be a secret."""
    headers = [("X-Request-Id", "req-1"), ("Location", "/orders/7?signature=s3cret")]
    assert receipt_of(201, headers) == "/orders/7"
    assert receipt_of(200, headers[:1]) == "req-1"
    assert receipt_of(204, []) == "HTTP 204"
