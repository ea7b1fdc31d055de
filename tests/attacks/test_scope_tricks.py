"""Attack: names and resources that look like what a grant allows, sent over the wire."""

import time
from typing import Any

import pytest

from tests.rpc.support import Served, digest

PREFIX = "https://api.example.com/users/*"
#: Pattern, resource: none of these is covered.
TRICKS = {
    "a-longer-name": ("https://api.example.com/a", "https://api.example.com/ab"),
    "a-shorter-name": ("https://api.example.com/ab", "https://api.example.com/a"),
    "a-slash-more": ("https://api.example.com/a", "https://api.example.com/a/"),
    "a-slash-less": ("https://api.example.com/a/", "https://api.example.com/a"),
    "other-letter-case": ("https://api.example.com/a", "https://api.example.com/A"),
    "other-case-of-the-host": ("https://api.example.com/a", "https://API.example.com/a"),
    "up-and-out": (PREFIX, "https://api.example.com/users/../admin"),
    "up-and-out-escaped": (PREFIX, "https://api.example.com/users/%2e%2e/admin"),
    "up-and-out-escaped-twice": (PREFIX, "https://api.example.com/users/%252e%252e/admin"),
    "an-escaped-slash": ("https://api.example.com/users/*/mail", "https://api.example.com/users/a%2Fb/mail"),
    "a-backslash": (PREFIX, "https://api.example.com/users\\..\\admin"),
    "two-slashes": (PREFIX, "https://api.example.com//users/a"),
    "nothing-where-a-segment-is-due": (PREFIX, "https://api.example.com/users/"),
    "a-segment-more": ("https://api.example.com/users/*/mail", "https://api.example.com/users/a/b/mail"),
    "a-letter-that-looks-the-same": (PREFIX, "https://api.ex\u0430mple.com/users/a"),
    "wide-letters": (PREFIX, "\uff48ttps://api.example.com/users/a"),
    "an-invisible-letter": (PREFIX, "https://api.example.com/users\u200b/a"),
    "the-pattern-itself": (PREFIX, PREFIX),
    "a-host-that-begins-alike": ("https://api.example.com/*", "https://api.example.com.evil.example/a"),
    "the-host-as-a-user": ("https://api.example.com/*", "https://api.example.com@evil.example/a"),
    "the-host-as-a-user-with-a-port": (
        "https://api.example.com:*/a",
        "https://api.example.com:443@evil.example/a",
    ),
    "a-port-more": ("https://api.example.com/a", "https://api.example.com:8443/a"),
    "another-scheme": ("https://api.example.com/a", "http://api.example.com/a"),
    "no-scheme": ("https://api.example.com/a", "//api.example.com/a"),
    "a-query-more": ("https://api.example.com/a", "https://api.example.com/a?admin=1"),
    "a-fragment-more": ("https://api.example.com/a", "https://api.example.com/a#x"),
    "a-second-recipient": ("mailto:*@example.com", "mailto:eve@evil.example,ann@example.com"),
    "a-recipient-behind": ("mailto:*@example.com", "mailto:ann@example.com,eve@evil.example"),
    "a-hidden-recipient": ("mailto:*@example.com", "mailto:ann@example.com?bcc=eve@evil.example"),
    "a-domain-that-begins-alike": ("mailto:*@example.com", "mailto:ann@example.com.evil.example"),
    "a-sub-domain": ("mailto:*@example.com", "mailto:ann@mail.example.com"),
    "a-newline": ("mailto:*@example.com", "mailto:ann@example.com\nBcc: eve@evil.example"),
    "nothing-at-all": ("mailto:*@example.com", ""),
    "a-resource-where-none-is-named": ("mailto:ann@example.com", "*"),
}
#: Pattern, action: none of these is covered.
NAMES = {
    "a-longer-name": ("email.send", "email.send_all"),
    "a-name-below": ("email.send", "email.send.all"),
    "a-name-above": ("email.*", "email"),
    "a-name-that-begins-alike": ("email.*", "emails.send"),
    "other-letter-case": ("email.send", "Email.Send"),
    "a-star": ("email.*", "email.*"),
    "all": ("email.send", "*"),
    "two-dots": ("email.*", "email..send"),
    "a-dot-at-the-end": ("email.*", "email."),
    "a-letter-that-looks-the-same": ("email.*", "\u0435mail.send"),
    "a-space": ("email.*", "email.send "),
    "a-nul": ("email.*", "email.send\0"),
    "a-slash": ("email.*", "email./send"),
}


async def attempt(sidecar: Served, scope: dict[str, Any], action: str, resource: str) -> str:
    """Perform under a grant with one scope; answer the reason of the refusal."""
    token = await sidecar.grant("r-1", scope)
    told = {"op_id": "o-1", "action": action, "resource": resource, "digest": digest()}
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=told)
    if refused.reason == "OUT_OF_SCOPE":
        assert await sidecar.refusals() == [("perform", "OUT_OF_SCOPE")]
    assert "PERMITTED" not in [entry.kind for entry in await sidecar.journal()]
    return refused.reason


@pytest.mark.parametrize(("pattern", "resource"), TRICKS.values(), ids=TRICKS)
async def test_a_resource_that_only_looks_covered_is_refused(
    sidecar: Served, pattern: str, resource: str
) -> None:
    """Not canonical: refused before any scope is asked. Canonical: out of scope, and journalled."""
    reason = await attempt(sidecar, {"action": "x", "resource": pattern}, "x", resource)
    assert reason in ("OUT_OF_SCOPE", "INVALID_REQUEST")


@pytest.mark.parametrize(("pattern", "action"), NAMES.values(), ids=NAMES)
async def test_an_action_that_only_looks_covered_is_refused(
    sidecar: Served, pattern: str, action: str
) -> None:
    """The same for names."""
    assert await attempt(sidecar, {"action": pattern}, action, "") in ("OUT_OF_SCOPE", "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("pattern", "resource"),
    [
        (PREFIX, "https://api.example.com/users/a"),
        (PREFIX, "https://api.example.com/users/a/b?c=d"),
        ("mailto:*@example.com", "mailto:ann@example.com"),
        ("https://api.example.com:*/a", "https://api.example.com:8443/a"),
        ("*", ""),
        ("", "anything"),
    ],
)
async def test_what_is_covered_is_allowed(sidecar: Served, pattern: str, resource: str) -> None:
    """The control: the patterns of these tests do allow something."""
    token = await sidecar.grant("r-1", {"action": "x.*", "resource": pattern})
    told = {"op_id": "o-1", "action": "x.y", "resource": resource, "digest": digest()}
    assert (await sidecar.tool("PerformAction", grant_token=token, intent=told)).permit.fence


async def test_two_scopes_do_not_add_up(sidecar: Served) -> None:
    """The action of one with the resource of the other is in neither."""
    scopes = [
        {"action": "file.read", "resource": "file:///etc/*"},
        {"action": "file.write", "resource": "file:///tmp/*"},
    ]
    token = await sidecar.grant("r-1", *scopes)
    told = {"op_id": "o-1", "action": "file.write", "resource": "file:///etc/passwd", "digest": digest()}
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=told)
    assert refused.reason == "OUT_OF_SCOPE"


async def test_a_pattern_made_to_be_slow_costs_no_time(sidecar: Served) -> None:
    """Sixteen scopes full of stars against the longest resource: one walk each. Larger ones are refused."""
    stars = "/".join("*" * 255) + "/b"
    token = await sidecar.grant("r-1", *[{"action": "x", "resource": stars[-511:]}] * 16)
    resource = ("/".join("a" * 256))[:511]
    began = time.perf_counter()
    for number in range(20):
        told = {"op_id": f"o-{number}", "action": "x", "resource": resource, "digest": digest()}
        assert (
            await sidecar.tool.refused("PerformAction", grant_token=token, intent=told)
        ).reason == "OUT_OF_SCOPE"
    assert time.perf_counter() - began < 2
    for size in (257, 1_000):
        long = {"run_id": "r-1", "scopes": [{"action": "x", "resource": "*/" * size}]}
        assert (await sidecar.issuer.refused("IssueGrant", **long)).reason == "INVALID_REQUEST"
