"""What a request may say: every field is checked once, and the refusal names the field and its rule."""

import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from countermand.v1 import action_service_pb2 as action_pb
from grant_service.core.scope import MAX_SCOPES
from grant_service.rpc.limits import MAX_LABELS, MAX_NAME, MAX_NOTE, MAX_SEQ
from tests.rpc.support import METHODS, Error, Served, commit, digest, intent, served

#: Texts that would forge a line, colour a terminal, hide letters or turn their order around.
UNCLEAN = {
    "newline": "a\nb",
    "carriage-return": "a\rb",
    "nul": "a\0b",
    "tab": "a\tb",
    "ansi": "\x1b[31mred",
    "c1": "a\x9bb",
    "bidi-override": "a\u202eb",
    "bidi-isolate": "a\u2066b",
    "zero-width": "a\u200bb",
    "byte-order-mark": "\ufeffa",
    "soft-hyphen": "a\u00adb",
    "line-separator": "a\u2028b",
    "paragraph-separator": "a\u2029b",
    "tag": "a\U000e0041b",
}
BAD_IDS = {
    "empty": "",
    "long": "a" * 65,
    "slash": "a/b",
    "space": "a b",
    "newline": "a\n",
    "begins-with-dot": ".a",
    "begins-with-dash": "-a",
    "not-ascii": "a\u00e9",
    "other-digit": "a\u0661",
    "brace": "{p0}",
    "ansi": "a\x1b[0m",
}
BAD_DURATIONS = {
    "zero": Duration(),
    "negative": Duration(seconds=-1),
    "negative-nanos": Duration(seconds=1, nanos=-1),
    "only-negative-nanos": Duration(nanos=-1),
    "below-a-millisecond": Duration(nanos=999_999),
    "nanos-over-a-second": Duration(seconds=1, nanos=1_000_000_000),
    "longest-ever": Duration(seconds=315_576_000_000),
    "beyond-the-longest": Duration(seconds=2**63 - 1),
}
BAD_DIGESTS = {"empty": b"", "short": bytes(31), "long": bytes(33), "text": digest().hex().encode()}
BAD_RESOURCES = {
    "star": "mailto:*",
    "space": "mailto:a b",
    "not-ascii": "mailto:\u00e9",
    "newline": "mailto:a\n",
    "dot-segment": "file:///a/../b",
    "backslash": "file:///a\\b",
    "double-slash": "https://h/a//b",
    "needless-escape": "https://h/%41",
    "lower-case-escape": "https://h/%c3%a9",
    "long": "m:" + "x" * 511,
}


@pytest.fixture
async def ready() -> AsyncIterator[tuple[Served, str]]:
    """A sidecar with a run, and the token of a grant that allows all."""
    async with served() as running:
        yield running, await running.grant()


async def refused(ready: tuple[Served, str], method: str, fields: dict[str, Any]) -> Error:
    """The refusal of a bad request; it must name a field and a rule, and leave no trace in the store."""
    running, token = ready
    before = running.store.state.seq
    caller = {
        "Grant": running.issuer,
        "Actio": running.tool,
        "Contr": running.operator,
        "Journ": running.auditor,
    }
    if "grant_token" in METHODS[method].input_type.fields_by_name:
        fields = {"grant_token": token} | fields
    error = await caller[METHODS[method].containing_service.name[:5]].refused(method, **fields)
    assert error.reason == "INVALID_REQUEST"
    assert error.metadata.keys() == {"field", "rule"}
    assert error.message == f"{error.metadata['field']} {error.metadata['rule']}; correct the call"
    assert error.message.isprintable()
    assert running.store.state.seq == before
    return error


def case(method: str, field: str, **fields: Any) -> Any:
    """A bad request and the field it is refused for."""
    return pytest.param(method, field, fields, id=f"{method}-{field}")


def perform(**changes: Any) -> dict[str, Any]:
    """The fields of PerformAction with one of the intent changed."""
    return {"intent": intent("o-1") | changes}


IDS = [
    ("OpenRun", "run_id", {}),
    ("OpenRun", "parent_run_id", {}),
    ("IssueGrant", "run_id", {"scopes": [{"action": "*"}]}),
    ("IssueGrant", "request_id", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
    ("IssueGrant", "audience", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
    ("FinishRun", "run_id", {}),
    ("CancelRun", "run_id", {"reason": 1}),
    ("CommitAction", "op_id", {"digest": digest()}),
    ("SettleAction", "op_id", {"outcome": 1}),
    ("AbandonAction", "op_id", {}),
    ("GetReport", "run_id", {}),
    ("GetRun", "run_id", {}),
    ("ListEntries", "run_id", {}),
    ("GetHead", "run_id", {}),
]
OPTIONAL = {("OpenRun", "run_id"), ("OpenRun", "parent_run_id"), ("IssueGrant", "request_id")} | {
    ("IssueGrant", "audience")
}


@pytest.mark.parametrize(("method", "field", "fields"), IDS, ids=lambda told: str(told)[:20])
async def test_an_id_is_short_and_plain(
    ready: tuple[Served, str], method: str, field: str, fields: dict[str, Any]
) -> None:
    """Ids become keys, file names and lines of logs; only the harmless letters are in them."""
    for name, bad in BAD_IDS.items():
        if name == "empty" and (method, field) in OPTIONAL:
            continue
        error = await refused(ready, method, fields | {field: bad})
        assert error.metadata["field"] == field
        assert "1 to 64 letters" in error.metadata["rule"]


@pytest.mark.parametrize(("field", "bad"), [("op_id", bad) for bad in BAD_IDS.values()])
async def test_the_ids_of_an_intent_are_checked_too(ready: tuple[Served, str], field: str, bad: str) -> None:
    """They sit one level down and are named so."""
    for method in ("PrepareAction", "PerformAction"):
        assert (await refused(ready, method, perform(**{field: bad}))).metadata["field"] == f"intent.{field}"
        if bad:
            error = await refused(ready, method, perform(compensation=bad))
            assert error.metadata["field"] == "intent.compensation"


TEXTS = [
    ("OpenRun", "subject", MAX_NAME, {}),
    ("OpenRun", "agent", MAX_NAME, {}),
    ("OpenRun", "tenant", MAX_NAME, {}),
    ("FinishRun", "note", MAX_NOTE, {"run_id": "r-1"}),
    ("SettleAction", "receipt", MAX_NOTE, {"op_id": "o-1", "outcome": 1}),
    ("SettleAction", "note", MAX_NOTE, {"op_id": "o-1", "outcome": 1}),
    ("AbandonAction", "note", MAX_NOTE, {"op_id": "o-1"}),
    ("ListRuns", "subject", MAX_NAME, {}),
    ("ListRuns", "agent", MAX_NAME, {}),
    ("ListRuns", "tenant", MAX_NAME, {}),
]


@pytest.mark.parametrize(("method", "field", "limit", "fields"), TEXTS, ids=lambda told: str(told)[:20])
async def test_a_text_is_one_visible_line(
    ready: tuple[Served, str], method: str, field: str, limit: int, fields: dict[str, Any]
) -> None:
    """No text can forge a line of a log, move a terminal's cursor or read other than it is written."""
    for bad in UNCLEAN.values():
        error = await refused(ready, method, fields | {field: bad})
        assert error.metadata["field"] == field
        assert "one line" in error.metadata["rule"]
    error = await refused(ready, method, fields | {field: "x" * (limit + 1)})
    assert error.metadata == {"field": field, "rule": f"must have at most {limit} characters"}


@pytest.mark.parametrize("bad", UNCLEAN.values(), ids=UNCLEAN.keys())
async def test_no_text_keeps_a_run_from_being_stopped(sidecar: Served, bad: str) -> None:
    """A cancel's texts are cleaned and cut, so that they can forge nothing, and the run is stopped."""
    await sidecar.grant()
    told = {"actor": bad + "a" * MAX_NAME, "note": bad + "n" * MAX_NOTE, "tag": bad + "t" * MAX_NAME}

    end = (await sidecar.cancel(**told)).report.run.end

    told_back = end.actor + end.note + end.tag
    assert all(letter == " " or unicodedata.category(letter)[0] not in "CZ" for letter in told_back)
    assert (len(end.note), len(end.tag)) == (MAX_NOTE, MAX_NAME)
    assert end.note.endswith("nnn")


async def test_the_longest_clean_texts_are_taken_whatever_their_bytes(sidecar: Served) -> None:
    """The limit counts letters: a language with wide ones is not cut short."""
    text = "\u6f22" * MAX_NAME
    opened = await sidecar.issuer("OpenRun", run_id="r-1", subject=text, agent=text, tenant=text)
    assert (opened.run.subject, opened.run.agent, opened.run.tenant) == (text, text, text)


LABELS = {
    "too-many": ({f"l{number}": "x" for number in range(MAX_LABELS + 1)}, "labels"),
    "bad-name": ({"a b": "x"}, "labels name"),
    "newline-in-name": ({"a\nb": "x"}, "labels name"),
    "empty-name": ({"": "x"}, "labels name"),
    "newline-in-value": ({"a": "x\ny"}, "labels.a"),
    "long-value": ({"a": "x" * (MAX_NAME + 1)}, "labels.a"),
}


@pytest.mark.parametrize(("labels", "field"), LABELS.values(), ids=LABELS)
async def test_labels_are_few_and_plain(
    ready: tuple[Served, str], labels: dict[str, str], field: str
) -> None:
    """A label's name is an id and its value a text; a bad name is not echoed."""
    assert (await refused(ready, "OpenRun", {"labels": labels})).metadata["field"] == field


@pytest.mark.parametrize("bad", BAD_DIGESTS.values(), ids=BAD_DIGESTS)
async def test_a_digest_is_the_32_bytes_of_a_sha_256(ready: tuple[Served, str], bad: bytes) -> None:
    """Not its hexadecimal text, not a shorter one."""
    for method in ("PrepareAction", "PerformAction"):
        assert (await refused(ready, method, perform(digest=bad))).metadata["field"] == "intent.digest"
    error = await refused(ready, "CommitAction", commit(ready[1], "o-1", digest=bad))
    assert error.metadata == {"field": "digest", "rule": "must be the 32 bytes of a SHA-256"}


DURATIONS = [
    ("OpenRun", "ttl", {}, 30 * 86_400),
    ("IssueGrant", "ttl", {"run_id": "r-1", "scopes": [{"action": "*"}]}, 900),
    ("PrepareAction", "ttl", perform(), 900),
    ("CommitAction", "use_within", {"op_id": "o-1", "digest": digest()}, 60),
    ("PerformAction", "use_within", perform(), 60),
]


@pytest.mark.parametrize(("method", "field", "fields", "longest"), DURATIONS, ids=lambda told: str(told)[:20])
async def test_a_duration_is_positive_and_not_too_long(
    ready: tuple[Served, str], method: str, field: str, fields: dict[str, Any], longest: int
) -> None:
    """Zero is no duration, a malformed one is none either, and one nanosecond too long is too long."""
    late = {"a-nanosecond-late": Duration(seconds=longest, nanos=1)}
    for bad in (BAD_DURATIONS | late).values():
        error = await refused(ready, method, fields | {field: bad})
        assert error.metadata["field"] == field
        assert error.metadata["rule"] == f"must be at least 0.001 s and at most {longest} s"


async def test_the_longest_and_the_shortest_durations_are_taken(sidecar: Served) -> None:
    """The limits themselves are allowed, to the millisecond."""
    for run_id, ttl in (("r-1", Duration(seconds=30 * 86_400)), ("r-2", Duration(nanos=1_000_000))):
        run = (await sidecar.issuer("OpenRun", run_id=run_id, ttl=ttl)).run
        lasts = run.deadline_time.ToNanoseconds() - run.open_time.ToNanoseconds()
        assert lasts == ttl.ToNanoseconds()


BAD_SCOPES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "none": ([], "scopes"),
    "seventeen": ([{"action": "*"}] * (MAX_SCOPES + 1), "scopes"),
    "no-action": ([{}], "scopes[0].action"),
    "upper-case": ([{"action": "Email.send"}], "scopes[0].action"),
    "star-inside": ([{"action": "email.*.send"}], "scopes[0].action"),
    "star-prefix": ([{"action": "email*"}], "scopes[0].action"),
    "dot-at-the-end": ([{"action": "email."}], "scopes[0].action"),
    "not-ascii": ([{"action": "em\u0430il.send"}], "scopes[0].action"),
    "newline": ([{"action": "email.send\n"}], "scopes[0].action"),
    "long-action": ([{"action": "a" * 129}], "scopes[0].action"),
    "second-one": ([{"action": "*"}, {"action": "?"}], "scopes[1].action"),
    "part-of-a-segment": ([{"action": "*", "resource": "https://h/a*"}], "scopes[0].resource"),
    "escaped-star": ([{"action": "*", "resource": "https://h/%2a"}], "scopes[0].resource"),
    "long-resource": ([{"action": "*", "resource": "x" * 513}], "scopes[0].resource"),
    "dot-segment": ([{"action": "*", "resource": "file:///a/../*"}], "scopes[0].resource"),
    "unknown-ceiling": ([{"action": "*", "ceiling": 99}], "scopes[0].ceiling"),
    "negative-ceiling": ([{"action": "*", "ceiling": -1}], "scopes[0].ceiling"),
}


@pytest.mark.parametrize(("scopes", "field"), BAD_SCOPES.values(), ids=BAD_SCOPES)
async def test_a_scope_is_a_pattern_of_the_one_form(
    ready: tuple[Served, str], scopes: list[dict[str, Any]], field: str
) -> None:
    """What is not a pattern is refused when the grant is issued, not ignored when it is used."""
    assert (await refused(ready, "IssueGrant", {"run_id": "r-1", "scopes": scopes})).metadata[
        "field"
    ] == field


@pytest.mark.parametrize("bad", BAD_RESOURCES.values(), ids=BAD_RESOURCES)
async def test_a_resource_is_canonical(ready: tuple[Served, str], bad: str) -> None:
    """One thing has one name: a second spelling is refused before any scope is asked."""
    for method in ("PrepareAction", "PerformAction"):
        assert (await refused(ready, method, perform(resource=bad))).metadata["field"] == "intent.resource"


@pytest.mark.parametrize("bad", ["", "*", "email.*", "Email", "email..send", "email.send ", "a" * 129])
async def test_an_action_is_a_name(ready: tuple[Served, str], bad: str) -> None:
    """An intent names one action, never a pattern."""
    for method in ("PrepareAction", "PerformAction"):
        assert (await refused(ready, method, perform(action=bad))).metadata["field"] == "intent.action"


NUMBERS = [
    case("CancelRun", "reason", run_id="r-1"),
    case("CancelRun", "reason", run_id="r-1", reason=99),
    case("CancelRun", "reason", run_id="r-1", reason=-1),
    case("PrepareAction", "intent.reversibility", **perform(reversibility=99)),
    case("PerformAction", "intent.reversibility", **perform(reversibility=-1)),
    case("SettleAction", "outcome", op_id="o-1"),
    case("SettleAction", "outcome", op_id="o-1", outcome=99),
    case("ListRuns", "state", state=99),
    case("ListRuns", "page_size", page_size=-1),
    case("ListRuns", "page_token", page_token="-1"),
    case("ListRuns", "page_token", page_token="1e3"),
    case("ListRuns", "page_token", page_token="\u0661"),
    case("ListRuns", "page_token", page_token="9" * 18),
    case("ListRuns", "page_token", page_token="1" * 40),
    case("ListEntries", "page_size", run_id="r-1", page_size=-1),
    case("ListEntries", "after_seq", run_id="r-1", after_seq=MAX_SEQ + 1),
    case("ListEntries", "after_seq", run_id="r-1", after_seq=2**64 - 1),
    case("PrepareAction", "intent.action"),
    case("PerformAction", "intent.action"),
]


@pytest.mark.parametrize(("method", "field", "fields"), NUMBERS)
async def test_a_number_means_what_this_sidecar_knows(
    ready: tuple[Served, str], method: str, field: str, fields: dict[str, Any]
) -> None:
    """A value of a newer contract is not guessed at, and no number is too large for the store."""
    assert (await refused(ready, method, fields)).metadata["field"] == field


async def test_what_is_not_declared_is_the_worst(sidecar: Served) -> None:
    """An intent without a class of effects is IRREVERSIBLE, also against a scope's ceiling."""
    token = await sidecar.grant("r-1", {"action": "*", "ceiling": action_pb.REVERSIBILITY_COMPENSABLE})
    refusal = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
    assert (refusal.reason, refusal.metadata["rule"]) == ("OUT_OF_SCOPE", "ceiling")
    told = intent("o-2", reversibility=action_pb.REVERSIBILITY_COMPENSABLE)
    assert (await sidecar.tool("PerformAction", grant_token=token, intent=told)).permit.fence
