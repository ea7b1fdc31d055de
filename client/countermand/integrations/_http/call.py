"""A request on its way out, as the rules see it, whichever library sends it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

#: The methods that promise to change nothing. All others are writes: also QUERY and TRACE, which promise it
#: too, but which not every target knows, and those that nobody has heard of. Methods are compared by case.
READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: With one of these a read may be something else: another method to some servers, or another protocol.
_MAKE_IT_A_WRITE = frozenset(
    {"x-http-method-override", "x-http-method", "x-method-override", "upgrade"},
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_USERINFO = re.compile(r"\A.*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as it is about to be sent."""

    method: str
    #: With its query; without user, password and fragment.
    url: str
    #: Names in lower case.
    headers: Mapping[str, str]
    #: None if it is a stream, which can be read only once: by who sends it.
    body: bytes | None
    #: The operation of an API that has names for them, such as `s3.PutObject`; else empty.
    operation: str = ""

    @classmethod
    def of(
        cls,
        method: str,
        url: str,
        headers: Iterable[tuple[str | bytes, str | bytes]],
        body: str | bytes | bytearray | object | None,
        operation: str = "",
    ) -> "Call":
        """Describe a request by what its library says of it."""
        told = {text(name).lower(): text(value) for name, value in headers}
        return cls(method=method, url=_plain(url), headers=told, body=_bytes(body), operation=operation)

    @property
    def is_read(self) -> bool:
        """Say whether it promises to change nothing."""
        return self.method in READS and not _MAKE_IT_A_WRITE & self.headers.keys()

    @property
    def resource(self) -> str:
        """What it acts on: scheme, host and path. The query stays here, it may hold a secret.

        It is not repaired: what is not canonical, such as `//` in a path, the sidecar refuses.
        """
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))

    @property
    def is_for_another_host(self) -> bool:
        """Say whether its Host header names another one than its URL: then the target goes by that."""
        told, parts = self.headers.get("host"), urlsplit(self.url)
        return told is not None and _host(parts.scheme, told) != _host(parts.scheme, parts.netloc)

    @property
    def args(self) -> Mapping[str, object]:
        """What the permit is bound to by its digest: method, URL with query, and a hash of the body.

        A stream is not in it: to hash it would be to hold all of it before the first byte is sent.
        """
        body = "a stream" if self.body is None else hashlib.sha256(self.body).hexdigest()
        return {"method": self.method, "url": self.url, "body": body}


def _plain(url: str) -> str:
    parts = urlsplit(url)
    host = _without_default_port(parts.scheme, _USERINFO.sub("", parts.netloc).lower())
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def _host(scheme: str, told: str) -> str:
    """Spell a host as all others of its name: the dot at its end is left out by some clients."""
    return _without_default_port(scheme, told.strip().lower()).removesuffix(".")


def _without_default_port(scheme: str, host: str) -> str:
    return host.removesuffix(f":{_DEFAULT_PORTS.get(scheme, '')}")


def text(told: str | bytes) -> str:
    """Answer the name or value of a header as text."""
    return told.decode("latin-1") if isinstance(told, bytes) else told


def _bytes(body: object) -> bytes | None:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, bytes | bytearray) else None
