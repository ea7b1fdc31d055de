"""The small parts: digests, spans, scopes, tokens, addresses, ids."""

import copy
import hashlib
import json
import os
import pickle
import socket
from collections import OrderedDict
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

import countermand
import countermand.sync
import countermand.testing
from countermand._address import Ports, Role, Sockets, locate
from countermand._clock import elapsing
from countermand._ids import new_id
from countermand._span import duration, seconds
from countermand._text import line
from countermand.testing import Sidecar

digest, Scope, SecretToken = countermand.digest, countermand.Scope, countermand.SecretToken
Reversibility = countermand.Reversibility


def test_a_digest_is_of_one_spelling() -> None:
    """Written out here once, so that another client can be made to agree."""
    args = {"z": [1, 2.5, True, None], "a": {"ü": "\n", "b": -0.0}, "n": 10**20}
    text = '{"a":{"b":-0.0,"\\u00fc":"\\n"},"n":100000000000000000000,"z":[1,2.5,true,null]}'

    assert digest(args) == hashlib.sha256(text.encode()).digest()


def test_what_means_the_same_has_the_same_digest() -> None:
    """Order of keys, kind of sequence and kind of mapping say nothing; no arguments are empty arguments."""
    assert digest({"a": (1, 2), "b": {}}) == digest(OrderedDict([("b", OrderedDict()), ("a", [1, 2])]))
    assert digest() == digest(None) == digest({}) == hashlib.sha256(b"{}").digest()


def test_what_differs_has_another_digest() -> None:
    """Text is not a number, one is not true, a whole float is not an integer."""
    spellings = [1, 1.0, True, "1", [1], None, {"1": 1}]

    assert len({digest({"a": value}) for value in spellings}) == len(spellings)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"raw", r"args\['a'\] is of type bytes"),
        (float("nan"), r"args\['a'\] is nan"),
        (float("inf"), r"args\['a'\] is inf"),
        ({1: 2}, r"args\['a'\] has a key of type int"),
        ([{"b": {1, 2}}], r"args\['a'\]\[0\]\['b'\] is of type set"),
        (timedelta(1), "is of type timedelta"),
    ],
)
def test_what_has_no_spelling_is_refused_by_its_place(value: object, rule: str) -> None:
    """The message names the place, so that it can be found in large arguments; it does not show the value."""
    with pytest.raises(countermand.InvalidRequest, match=rule):
        digest({"a": value})


def test_arguments_that_hold_themselves_are_refused() -> None:
    """They have no end."""
    args: dict[str, object] = {}
    args["a"] = args

    with pytest.raises(ValueError, match="holds itself"):
        digest(args)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("500ms", 0.5),
        ("60s", 60),
        ("1.5m", 90),
        ("1h", 3600),
        ("2d", 172800),
        (2, 2),
        (0.5, 0.5),
        (timedelta(minutes=1), 60),
    ],
)
def test_spans_are_written_as_people_write_them(span: countermand._span.Span, expected: float) -> None:
    """To the millisecond on the wire."""
    assert seconds(span) == expected
    told = duration(span)
    assert told is not None
    assert told.ToMilliseconds() == expected * 1000


@pytest.mark.parametrize(
    "span", ["", "60", "s", "-1s", "1 s", "0s", "1w", 0, -1, True, float("nan"), 1e300, None, "\u0661s"]
)
def test_other_spans_are_refused(span: object) -> None:
    """The message shows what can be written."""
    with pytest.raises(countermand.InvalidRequest, match="500ms, 60s, 5m"):
        seconds(span)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("email.send", Scope("email.send")),
        ("email.* mailto:*@example.com", Scope("email.*", "mailto:*@example.com")),
        ("* uses=3", Scope("*", "*", 3)),
        ("a.b c ceiling=read-only uses=1", Scope("a.b", "c", 1, Reversibility.READ_ONLY)),
        ("a.b approval=IRREVERSIBLE", Scope("a.b", approval_from=Reversibility.IRREVERSIBLE)),
        (
            "pay.* iban:* uses=3 approval=compensable ceiling=irreversible",
            Scope("pay.*", "iban:*", 3, Reversibility.IRREVERSIBLE, Reversibility.COMPENSABLE),
        ),
        ("a.b approval=always", None),
        ("a.b approval=irreversible approval=irreversible", None),
        ("a.b uses=x", None),
        ("a.b c d", None),
        ("a.b ceiling=nice", None),
        ("a.b uses=1 uses=2", None),
        ("", None),
    ],
)
def test_scopes_have_a_text_form(text: str, scope: countermand.Scope | None) -> None:
    """What it can say can be read back; what it cannot is refused."""
    if scope is None:
        with pytest.raises(countermand.InvalidRequest, match="a scope must"):
            Scope.parse(text)
    else:
        assert Scope.parse(text) == scope
        assert Scope.parse(str(scope)) == scope


def test_one_scope_still_comes_in_a_list(real: Sidecar) -> None:
    """Text is a sequence too, of letters; it is not taken for one."""
    with (
        countermand.sync.connect(real.home) as cm,
        pytest.raises(countermand.InvalidRequest, match="in a list"),
    ):
        cm.issuer.issue("r-1", scopes="email.send")


def test_a_token_does_not_show_itself() -> None:
    """Only `reveal` answers it."""
    canary = "canary-3f9a"
    token = SecretToken(canary)

    shown = [repr(token), str(token), f"{token}", f"{token:>3}", "%s" % token, repr([token]), f"{token!r}"]  # noqa: UP031
    shown += [
        repr(copy.copy(token)),
        repr(copy.deepcopy({"t": token})),
        json.dumps({"t": token}, default=str),
    ]
    assert not [text for text in shown if canary in text]
    for leak in (pickle.dumps, json.dumps, vars, hash):
        with pytest.raises(TypeError) as refused:
            leak(token)
        assert canary not in str(refused.value)
    assert token.reveal() == canary
    assert token == SecretToken(canary)
    assert token != SecretToken("other")
    assert token != canary


def test_a_note_is_one_line_that_fits() -> None:
    """What the sidecar would refuse is made acceptable."""
    assert line("a\nb\x1b[31m\u202ec") == "a b [31m c"
    assert line("x" * 300) == "x" * 300
    assert line("x" * 301) == "x" * 299 + "…"


def test_ids_are_what_the_contract_takes() -> None:
    """A letter for the kind, and twenty that nobody guesses."""
    ids = {new_id("r") for _ in range(100)}

    assert len(ids) == 100
    assert all(len(one) == 22 and one.startswith("r-") and one[2:].isalnum() and one.islower() for one in ids)


def test_the_clock_of_a_permit_goes_on() -> None:
    """Up, in seconds."""
    assert elapsing() <= elapsing()


class TestAddress:
    """Where the sidecar is looked for."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A user without settings."""
        for name in ("COUNTERMAND_HOME", "COUNTERMAND_TARGET", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    def test_the_default_is_the_users_state_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same as the sidecar's own default."""
        from grant_service.settings import default_home

        assert locate() == Sockets(tmp_path / ".local/state/countermand") == Sockets(default_home())
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        assert locate() == Sockets(tmp_path / "state/countermand") == Sockets(default_home())

    def test_what_is_said_beats_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Argument, then target, then home."""
        monkeypatch.setenv("COUNTERMAND_HOME", "/home-of-it")
        assert locate() == Sockets(Path("/home-of-it"))
        monkeypatch.setenv("COUNTERMAND_TARGET", "127.0.0.1:7420")
        assert locate() == Ports("127.0.0.1", 7420)
        assert locate("/other") == Sockets(Path("/other"))
        assert locate(target="[::1]:7") == Ports("::1", 7)

    def test_roles_have_sockets_and_ports(self) -> None:
        """In the order of the contract."""
        assert Sockets(Path("/a b/%")).target(Role.TOOL) == "unix:/a%20b/%25/run/tool.sock"
        assert [Ports("127.0.0.1", 7420).target(role) for role in Role] == [
            f"127.0.0.1:{port}" for port in range(7420, 7425)
        ]
        assert Ports("::1", 7).target(Role.ISSUER) == "[::1]:7"

    @pytest.mark.parametrize(
        "target", ["127.0.0.1", "10.0.0.1:7420", "example.com:1", "127.0.0.1:x", "::1:0", ":1"]
    )
    def test_only_loopback_is_called_in_the_clear(self, target: str) -> None:
        """Tokens go over it."""
        with pytest.raises(countermand.InvalidRequest, match="must be the loopback address"):
            locate(target=target)

    def test_home_and_target_contradict_each_other(self) -> None:
        """One sidecar at a time."""
        with pytest.raises(countermand.InvalidRequest, match="not both"):
            locate("/a", "127.0.0.1:1")

    def test_a_fault_names_the_path_and_the_way_out(self, real: Sidecar, tmp_path: Path) -> None:
        """Absent, dead and too long are told apart; a live one has no fault."""
        assert Sockets(real.home).fault(Role.TOOL) is None
        absent = Sockets(real.home / "x").fault(Role.TOOL)
        assert absent is not None
        assert f"{real.home}/x/run/tool.sock is absent; start it with 'countermand serve'" in absent
        dead = real.home / "dead"
        (dead / "run").mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(dead / "run/tool.sock"))
        assert "does not answer (Connection refused)" in (Sockets(dead).fault(Role.TOOL) or "")
        assert "is too long for a socket" in (Sockets(Path("/" + 100 * "x")).fault(Role.TOOL) or "")

    def test_a_port_nobody_listens_on_is_a_fault(self) -> None:
        """Connecting to it is refused at once."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            assert Ports("127.0.0.1", port).fault(Role.ISSUER) is None
        assert "does not answer" in (Ports("127.0.0.1", port).fault(Role.ISSUER) or "")

    def test_a_home_may_have_any_name(self, tmp_path: Path) -> None:
        """What means something in an address is escaped in it."""
        with countermand.testing.sidecar() as real:
            link = real.home / "a b%20#?ü"
            os.symlink(real.home, link)
            with countermand.sync.connect(link) as cm:
                assert cm.issuer.open(run_id="r-1").run.run_id == "r-1"

    def test_a_development_sidecar_is_called_on_its_ports(self) -> None:
        """Issuer first, then tool, operator, auditor and compensator."""
        target = f"127.0.0.1:{five_ports()}"
        with countermand.testing.sidecar(insecure_dev_tcp=target):
            with countermand.sync.connect(target=target) as cm, cm.open_run(agent="mailer") as run:
                with run.grant(scopes=["*"]), countermand.sync.perform("email.send") as act:
                    pass
                assert [done.op_id for done in cm.operator.report(run.run_id).done] == [act.op_id]
                assert len(cm.auditor.runs().runs) == 1


def five_ports() -> int:
    """The first of five loopback ports in a row that nobody has."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + 5):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return int(first)
