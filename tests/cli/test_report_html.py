"""The report as a page to send: nothing in it runs or loads, nothing is lost, and anybody can read it."""

import hashlib
import re
from base64 import b64encode
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from html import unescape
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest

from countermand import (
    ActionState,
    Durability,
    ErrorReason,
    FenceState,
    Report,
    Reversibility,
    RunState,
    SignedHead,
    StopReason,
    Undo,
)
from countermand.cli.html import node, visible
from countermand.cli.report_html import report_html
from countermand.cli.report_words import ACTIONS, PARTS, STATES, WHY_STOPPED
from tests.cli.pages import Page
from tests.cli.test_report_page import ACT, BUDGET, END, FENCE, LATE, NOW, RUN, after, report

STYLE = resources.files("countermand.cli").joinpath("report.css").read_text("utf-8")

FLYING = replace(ACT, op_id="o-fly", state=ActionState.PERMITTED, settle_time=None, receipt="", note="")
LIFTED = replace(
    FENCE, state=FenceState.LIFTED, lift_actor="operator:bob", lift_note="mended", lift_time=after(-1)
)


def full(**parts: Any) -> Report:
    """A report with something in every part."""
    undoable = Undo(True, "email.recall", "", Reversibility.COMPENSABLE)
    whole: dict[str, Any] = {
        "done": (ACT, replace(ACT, op_id="o-9", undo=undoable, note="as asked", settled_after_cut=True)),
        "interrupted": (replace(ACT, op_id="o-2", state=ActionState.INTERRUPTED, permit_time=None),),
        "in_flight": (replace(FLYING, use_by_time=after(20)),),
        "unknown": (replace(FLYING, op_id="o-u", state=ActionState.UNKNOWN),),
        "not_done": (replace(ACT, op_id="o-d", state=ActionState.DENIED),),
        "pending": (replace(ACT, op_id="o-p", state=ActionState.AWAITING_APPROVAL),),
        "late_attempts": (LATE, replace(LATE, time=after(0), prior_decision=ActionState.PERMITTED)),
        "late_attempt_count": 5,
        "fences": (FENCE, LIFTED),
        "gaps": ("part of the journal was lost",),
        "complete": False,
        "durability": Durability.EVERY_SECOND,
        "descendant_run_ids": ("r-1.sub",),
        "run": replace(RUN, labels={"team": "a"}, tenant="acme", budgets={"tokens": BUDGET}),
    }
    return report(**(whole | parts))


def page(told: Report) -> Page:
    """The page of a report, which must be well formed."""
    read = Page.of(report_html(told))
    assert read.faults == ()
    return read


ACTIVE = replace(RUN, end=None, state=RunState.ACTIVE)
KINDS = {
    "full": full(),
    "empty": report(),
    "active": report(run=ACTIVE, cut_seq=0, pending=(ACT,), quiesced=False),
    "never opened": report(run=replace(RUN, open_time=None)),
    "finished": report(run=replace(RUN, state=RunState.FINISHED)),
    "deadline": report(run=replace(RUN, end=replace(END, seq=0, reason=StopReason.DEADLINE, actor=""))),
}
every_kind = pytest.mark.parametrize("told", KINDS.values(), ids=KINDS)


@every_kind
def test_a_page_is_whole_and_alone(told: Report) -> None:
    """Well formed, in English, and with nothing that runs or is loaded from anywhere."""
    read = page(told)
    assert read.source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert read.source.isascii()
    names = {one.name for one in read.all()}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg"})
    attributes = {name for one in read.all() for name in one.attributes}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")}
    links = [one.attributes["href"] for one in read.all("a")]
    ids = [one.attributes["id"] for one in read.all() if "id" in one.attributes]
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"url\(|@import|https?:|expression", STYLE)


@every_kind
def test_a_browser_is_forbidden_everything_but_the_style(told: Report) -> None:
    """By a policy that names the one style sheet by its hash."""
    read = page(told)
    [policy] = [
        one.attributes["content"]
        for one in read.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    [style] = read.all("style")
    known = b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{known}'"]


@every_kind
def test_a_page_is_read_by_those_who_do_not_see_it(told: Report) -> None:
    """One title, headings without a gap, tables whose cells have headings, times that programs read."""
    read = page(told)
    ranks = read.ranks()
    assert ranks[0] == 1
    assert ranks.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(ranks))
    assert read.all("title")[0].text.startswith(read.all("h1")[0].text)
    for table in read.all("table"):
        assert table.attributes["role"] == "table"
        assert table.attributes["aria-label"]
        assert all(one.attributes["scope"] in ("col", "row") for one in table.all("th"))
        heads = [one.text for one in table.all("thead")[0].all("th")]
        for row in table.all("tbody")[0].all("tr"):
            assert [one.attributes["data-label"] for one in row.all("th", "td")] == heads
    for one in read.all("time"):
        assert one.text.endswith(" UTC")
        assert datetime.fromisoformat(one.attributes["datetime"])
    landmarks = [one.name for one in read.all("header", "main", "footer")]
    assert landmarks == ["header", "main", "footer"]


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 has it."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_letters_stand_out_from_their_ground() -> None:
    """By 4.5 to 1 at least (WCAG AA), in light, in the dark and in print."""
    themes = [_colours(block) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]
    assert len(themes) == 3
    for theme in themes:
        for letters in ("text", "quiet", "calm", "open", "link"):
            for ground in ("ground", "panel"):
                assert _contrast(theme[letters], theme[ground]) >= 4.5, (letters, ground, theme)
    assert _contrast("#ffffff", "#808080") < 4.5


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("full", "What the agent did before it was stopped"),
        ("deadline", "What the agent did before it was stopped"),
        ("active", "What the agent has done so far"),
        ("never opened", "No such run was ever opened"),
        ("finished", "What the agent did"),
    ],
)
def test_the_title_says_what_it_is(kind: str, title: str) -> None:
    """In plain words: nobody is said to have been stopped who was not."""
    read = page(KINDS[kind])
    assert read.all("h1")[0].text == title
    if kind in ("active", "finished"):
        assert "topped" not in read.all("header")[0].text.replace("Stop report", "")


def facts(read: Page) -> dict[str, str]:
    """What the page says in pairs."""
    names, values = read.all("dt"), read.all("dd")
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def test_who_stopped_it_when_and_why_is_said_first() -> None:
    """With the zone of the time, and in their own words."""
    told = facts(page(full()))
    assert told["Agent"] == "mailer"
    assert told["On behalf of"] == "u-7"
    assert told["Stopped by"] == "ada (operator)"
    assert told["Stopped at"] == "2026-03-04 12:00:05 UTC"
    assert told["Why"] == "its user asked for it to stop (USER_STOP)"
    assert told["In their words"] == "wrong list"
    above = report(run=replace(RUN, end=replace(END, run_id="r-0")))
    assert facts(page(above))["Stopped by"] == "ada (operator), through run r-0 above it"
    assert facts(page(KINDS["deadline"]))["Stopped by"] == "nobody, its deadline passed"


def test_every_part_is_there_with_its_meaning_and_its_actions() -> None:
    """Title, number, a sentence of plain words, and a row for each action."""
    told = full()
    read = page(told)
    numbers = {one.attributes["href"]: one.text for one in read.all("a")}
    for name in (*ACTIONS, "late_attempts"):
        section, part = read.section(name), PARTS[name]
        number = told.late_attempt_count if name == "late_attempts" else len(getattr(told, name))
        assert section.all("h2")[0].text == f"{part.title} ({number})"
        assert part.meaning in section.text
        assert numbers[f"#{name}"] == f"{number} {part.title}"
        [table] = section.all("table")
        assert table.column("Action id") == (
            ["o-2"] if name == "late_attempts" else [one.op_id for one in getattr(told, name)]
        )
    assert {one.name for one in fields(Report)} >= {*PARTS}


def test_no_list_of_a_report_is_left_out() -> None:
    """Each field of the report that lists something has its place on the page."""
    lists = {one.name for one in fields(Report) if str(one.type).startswith("tuple[")}
    assert lists - {"heads"} == {*PARTS, "descendant_run_ids", "gaps", "small_print", "fences"}


def test_an_action_is_told_in_full() -> None:
    """What, on what, when, in which state, its receipt, whether it can be undone, its note, its run."""
    [table] = page(full()).section("done").all("table")
    assert table.column("What") == ["email.send"] * 2
    assert table.column("On what") == ["mailto:team@example.com"] * 2
    assert table.column("State") == ["done, says the tool"] * 2
    assert table.column("Receipt") == ["m-1"] * 2
    undo = ["no: it is irreversible", "yes: email.recall, a trace remains"]
    assert table.column("Can it be undone?") == undo
    assert table.column("Note of the tool") == ["", "as asked"]
    assert table.column("Run") == ["r-1", "r-1"]
    first, second = table.column("When")
    assert first == (
        "planned 2026-03-04 12:00:01 UTCallowed 2026-03-04 12:00:02 UTCreported 2026-03-04 12:00:03 UTC"
    )
    assert second == f"{first} (after the stop)"
    [flying] = page(full()).section("in_flight").all("table")
    assert flying.column("When")[0].endswith("good until 2026-03-04 12:00:30 UTC")


def test_what_was_undone_is_told() -> None:
    """Whichever way it went."""
    states = (ActionState.UNDO_PENDING, ActionState.UNDONE, ActionState.UNDO_FAILED)
    done = tuple(replace(ACT, op_id=state, state=state) for state in states)
    [table] = page(report(done=done)).section("done").all("table")
    assert table.column("State") == [STATES[state] for state in states]


def test_late_attempts_are_told_as_refused() -> None:
    """Repeated ones in a row, with those that may have happened, and those that are not listed."""
    section = page(full()).section("late_attempts")
    [table] = section.all("table")
    assert table.column("Attempt") == ["asked to go ahead, 2 times"]
    assert table.column("When") == ["2026-03-04 12:00:09 UTC to 2026-03-04 12:00:10 UTC"]
    assert table.column("Why refused") == ["the run was stopped"]
    assert table.column("Before the stop") == ["it had been allowed: it may have happened"]
    assert "And 3 more, counted but not listed." in section.text
    assert "every one was refused" in section.text


def test_nothing_is_called_over_that_is_not() -> None:
    """The first paragraph says what may still come of it; only where nothing can, it is calm."""

    def lead(told: Report) -> tuple[str, str]:
        section = page(told).all("section")[0]
        return section.attributes["class"], section.text

    assert lead(report()) == (
        "calm",
        "How it stands"
        "Since then, nothing new has been allowed, and nothing can be."
        "Nothing is under way any more, and nothing is unknown.",
    )
    kind, told = lead(report(in_flight=(replace(FLYING, use_by_time=after(20)),)))
    assert kind == "open"
    assert "1 action may still take effect: allowed before, good until 2026-03-04 12:00:30 UTC" in told
    kind, told = lead(report(unknown=(replace(FLYING, state=ActionState.UNKNOWN),)))
    assert kind == "open"
    assert "1 action may have happened" in told
    kind, told = lead(report(quiesced=False, complete=False, gaps=("something was lost",)))
    assert kind == "open"
    assert "Nothing is under way any more" not in told
    assert "it cannot be ruled out" in told
    assert "Something may be missing" in told
    kind, told = lead(KINDS["active"])
    assert kind == "open"
    assert "Nothing has stopped the agent" in told
    assert "under a block" not in told
    fenced = report(run=ACTIVE, fences=(FENCE,), cut_seq=0, quiesced=False)
    assert "1 block over it" in lead(fenced)[1]


def test_what_is_not_known_and_not_promised_is_said() -> None:
    """The gaps, a store that may lose something, the small print; or that there is no gap."""
    read = page(full())
    assert "part of the journal was lost" in read.section("gaps").text
    assert "a power cut may lose up to a second of it" in read.section("gaps").text
    assert "Nothing is promised." in read.section("small_print").text
    assert page(report()).section("gaps").text == (
        "What is not knownNo gap is known: the journal that this report is made from is complete."
    )


def test_fences_are_told_in_plain_words() -> None:
    """What each covers and did, by whom, why, and whether it stands."""
    [table] = page(full()).section("fences").all("table")
    assert table.column("What it covers") == ["email.* of tenant acme"] * 2
    assert table.column("Why") == ["an incident was being handled (INCIDENT)"] * 2
    assert table.column("Now") == ["it stands", "it was lifted; what it took back stays taken back"]
    assert table.column("Lifted") == ["", "bob (operator), 2026-03-04 12:00:09 UTC: mended"]
    timed = page(report(fences=(replace(FENCE, expire_time=after(60)),))).section("fences")
    assert "it stands until 2026-03-04 12:01:10 UTC or until it is lifted" in timed.text


def test_the_evidence_is_named() -> None:
    """Cut, epoch, durability, what is quiet, what is whole."""
    told = facts(page(full()))
    assert told["Stopped by journal entry"] == "7"
    assert told["Last journal entry"] == "9"
    assert told["Epoch of the store"] == "e"
    assert told["Durability"].startswith("The store is EVERY_SECOND")
    assert told["Quiesced"].startswith("no")
    assert told["Complete"].startswith("no")
    assert told["Runs below it"] == "r-1.sub"
    assert told["Labels"] == "team=a"
    assert told["Budgets"] == "tokens: 3 of 10 left, 2 held for prepared actions, refuses only"
    calm = facts(page(report()))
    assert (calm["Quiesced"], calm["Complete"]) == ("yes: no permit can be used any more", "yes")


def test_signed_heads_are_shown_where_they_are() -> None:
    """Hash, key and signature, so that the page can be held against the journal later."""
    head = SignedHead(
        run_id="r-1",
        last_seq=9,
        entry_count=5,
        hash=bytes.fromhex("ab" * 32),
        marks=b"",
        stride=1,
        time=NOW,
        store_epoch="e",
        key_id="k-1",
        signature=b"\x01\x02",
    )
    read = page(replace(report(), heads=(head,), at_seq=9))
    [table] = read.section("evidence").all("table")
    assert table.column("Hash of the journal's head") == ["ab" * 32]
    assert table.column("Key") == ["k-1"]
    assert table.column("Signed at") == ["2026-03-04 12:00:10 UTC"]
    assert facts(read)["Report made as of entry"] == "9"
    assert "what was known at journal entry 9" in read.all("section")[0].text


HOSTILE = {
    "markup": "</td></table><script>alert(1)</script><img src=//x.example/a onerror=alert(1)>",
    "quotes": '"\' onmouseover="alert(1)" x=\'',
    "entities": "&lt;script&gt; &amp;amp; &#x3c;",
    "end of style": "</style><style>body{display:none}</style><!-- ]]>",
    "controls": "a\x00b\x07c\x1b[31md\x7fe\x9bf\r\ng\th",
    "overrides": "safe\u202egpj.exe\u2066x\u2069\u200f\u061c",
    "unseen": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041f\u2028g",
    "halves": "x\ud800y\udfffz",
    "long": "W" * 5000,
    "other letters": "d\u00e9j\u00e0 vu \u4e2d\u6587 \u05e9\u05dc\u05d5\u05dd \U0001f469\u200d\U0001f680",
}


def with_text(value: Any, text: str) -> Any:
    """The same with `text` wherever there is a text; words of the contract and times stay."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_text(one, text) for one in value)
    if isinstance(value, dict):
        return {f"{name}{text}": with_text(one, text) for name, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: with_text(getattr(value, one.name), text) for one in fields(value)}
        )
    return value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_of_others_becomes_more_than_text(text: str) -> None:
    """In every field at once: the elements are those of a harmless text, and the text is shown as it is."""
    read, harmless = page(with_text(full(), text)), page(with_text(full(), "x"))
    assert [one.name for one in read.all()] == [one.name for one in harmless.all()]
    assert [{*one.attributes} for one in read.all()] == [{*one.attributes} for one in harmless.all()]
    assert all(
        one.attributes.get(name) == other.attributes.get(name)
        for one, other in zip(read.all(), harmless.all(), strict=True)
        for name in ("href", "id", "class", "scope", "role", "content", "data-label")
    )
    shown = visible(text)
    assert read.text.count(shown) >= harmless.all("body")[0].text.count("xx") + 20
    assert shown in read.section("done").all("table")[0].column("Receipt")
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", unescape(read.source)
    )


def test_texts_of_others_cannot_turn_the_writing_around_them() -> None:
    """Each stands in an element of its own that is set apart, whatever its script."""
    read = page(with_text(full(), "\u05e9\u05dc\u05d5\u05dd"))
    apart = sum(one.text.count("\u05e9") for one in read.all("bdi"))
    assert apart == read.text.count("\u05e9")


def test_what_is_not_seen_is_shown_by_its_number() -> None:
    """And what is needed to write a language is left alone."""
    assert visible("a\u202eb\x1bc\ud800") == "a[U+202E]b[U+001B]c[U+D800]"
    assert visible("\u0646\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f680 e\u0301") == (
        "\u0646\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f680 e\u0301"
    )


def test_no_attribute_can_be_left() -> None:
    """A quote in it stays in it, of either kind; a text of its own is no element."""
    read = Page.of(str(node("p", "<b>", title=HOSTILE["quotes"], lang="'\"><b>")))
    assert read.faults == ()
    [one] = read.all()
    assert one.attributes == {"title": HOSTILE["quotes"], "lang": "'\"><b>"}
    assert one.text == "<b>"


def test_a_style_sheet_cannot_be_left() -> None:
    """There nothing is escaped, so what could end it is refused."""
    with pytest.raises(ValueError, match="end tag"):
        str(node("style", "a{}</style><script>"))


def test_long_reports_are_whole() -> None:
    """Each action is there; the page is made in a moment."""
    many = tuple(replace(ACT, op_id=f"o-{number}") for number in range(3000))
    [table] = page(report(done=many)).section("done").all("table")
    assert table.column("Action id") == [one.op_id for one in many]


def test_there_are_words_for_everything() -> None:
    """Each state of an action and each reason of a stop."""
    assert set(STATES) == set(ActionState)
    assert set(WHY_STOPPED) == set(StopReason)
    assert page(report(late_attempts=(replace(LATE, reason=ErrorReason.OUT_OF_SCOPE),), late_attempt_count=1))
