"""What a call may say of a tool that is registered: what the registration says, or nothing."""

import itertools

import pytest

from grant_service.core.errors import ErrorReason, Refusal, explain
from grant_service.core.scope import Reversibility
from grant_service.core.tools import Tool, Tools

MAIL = Tool("email.send", Reversibility.COMPENSABLE, "email.recall", "email.stop", "email.outbox")
LOOK = Tool("email.read", Reversibility.READ_ONLY)
TOOLS = Tools({tool.action: tool for tool in (MAIL, LOOK)})
ONLY = Tools(TOOLS.registered, only=True)


def test_whatever_part_of_the_truth_a_call_says_it_gets_the_whole() -> None:
    """Every mixture of what is said and what is left unset."""
    for reversibility, compensation, probe in itertools.product(
        (None, MAIL.reversibility), ("", MAIL.compensation), ("", MAIL.probe)
    ):
        said = Tool("email.send", reversibility, compensation, probe=probe)
        assert ONLY.filled(said) == Tool("email.send", MAIL.reversibility, "email.recall", "", "email.outbox")


@pytest.mark.parametrize(
    ("said", "field", "rule"),
    [
        (Tool("email.send", Reversibility.REVERSIBLE), "reversibility", "must be COMPENSABLE, or left out"),
        (Tool("email.send", Reversibility.READ_ONLY), "reversibility", "must be COMPENSABLE, or left out"),
        (Tool("email.send", None, "email.unsend"), "compensation", "must be email.recall, or left out"),
        (Tool("email.send", None, "email.outbox"), "compensation", "must be email.recall, or left out"),
        (Tool("email.send", probe="email.recall"), "probe", "must be email.outbox, or left out"),
        (Tool("email.read", None, "email.recall"), "compensation", "must be left out: none is registered"),
        (Tool("email.read", probe="email.outbox"), "probe", "must be left out: none is registered"),
        (Tool("email.read", Reversibility.IRREVERSIBLE), "reversibility", "must be READ_ONLY, or left out"),
    ],
)
def test_what_a_call_says_otherwise_is_refused(said: Tool, field: str, rule: str) -> None:
    """Also if it seems harmless, such as a class that is harder to undo: the file says what is so."""
    refusal = TOOLS.filled(said)
    assert refusal == Refusal(
        ErrorReason.TOOL_MISMATCH, {"action": said.action, "field": field, "rule": rule}
    )
    assert explain(refusal) == (
        f"{said.action} is called otherwise than it is registered: its {field} {rule}; "
        "correct the call, or the tools file"
    )


def test_a_canceller_is_the_registered_one() -> None:
    """Said or not; another, or any where none is registered, may not, and it is said why."""
    for said in ("", "email.stop"):
        assert TOOLS.canceller("email.send", said) == ("email.stop", "")
    for action, said, why in (
        ("email.send", "email.recall", "canceller email.recall is not registered for email.send"),
        ("email.read", "email.stop", "canceller email.stop is not registered for email.read"),
        ("email.read", "", "no canceller is registered for email.read"),
    ):
        assert TOOLS.canceller(action, said) == ("", why)


def test_what_is_not_registered_is_as_it_is_said_unless_only_registered_tools_may_act() -> None:
    """A name is exact: none covers another."""
    for action in ("email", "email.send.now", "email.sen", "file.delete"):
        said = Tool(action, Reversibility.REVERSIBLE, "undo", probe="ask")
        assert TOOLS.filled(said) == said
        assert TOOLS.canceller(action, "stop") == ("stop", "")
        refusal = ONLY.filled(said)
        assert isinstance(refusal, Refusal)
        assert refusal.details == {"action": action, "field": "action", "rule": "must be in the tools file"}
        assert ONLY.canceller(action, "stop") == ("", f"{action} is not in the tools file")


def test_a_registration_must_make_sense() -> None:
    """Its class must be given, and what nothing can undo has no compensation."""
    assert MAIL.fault is None
    assert LOOK.fault is None
    assert Tool("a", Reversibility.IRREVERSIBLE, canceller="stop", probe="ask").fault is None
    for tool, key in (
        (Tool("a"), "reversibility"),
        (Tool("a", Reversibility.READ_ONLY, "undo"), "compensation"),
        (Tool("a", Reversibility.IRREVERSIBLE, "undo"), "compensation"),
    ):
        assert tool.fault
        assert tool.fault[0] == key
