"""The five errands of the agent, the same in both stories, and how long each takes."""

from dataclasses import dataclass, field

from countermand import Reversibility

#: Seconds. The user presses Stop a moment after all errands are under way; the slow ones all take longer.
WRITING_S, QUEUED_S, UPLOADING_S = 1.2, 1.4, 1.0
#: An upload that the service has accepted is there for everybody only so much later.
PUBLISHING_S = 0.8
STOP_AFTER_S = 0.3


@dataclass(frozen=True, slots=True)
class Errand:
    """One effect on the world outside, as the person describes it who integrated the tool."""

    op_id: str
    action: str
    resource: str
    reversibility: Reversibility = Reversibility.IRREVERSIBLE
    compensation: str = ""
    args: dict[str, str] = field(default_factory=dict)


EMAIL = Errand(
    "o-email",
    "email.send",
    "mailto:team@example.com",
    Reversibility.COMPENSABLE,
    "email.correct",
    args={"subject": "Offer for Monday"},
)
CALENDAR = Errand(
    "o-calendar", "calendar.create", "calendar:team/offer", Reversibility.REVERSIBLE, "calendar.delete"
)
UPLOAD = Errand(
    "o-upload",
    "files.upload",
    "https://files.example.com/offer.pdf",
    Reversibility.COMPENSABLE,
    "files.delete",
)
INVOICE = Errand("o-invoice", "invoice.send", "mailto:customer@example.com", args={"amount": "4200.00"})
TICKET = Errand(
    "o-ticket",
    "ticket.create",
    "https://tickets.example.com/sales",
    Reversibility.COMPENSABLE,
    "ticket.close",
)

ERRANDS = {one.op_id: one for one in (EMAIL, CALENDAR, UPLOAD, INVOICE, TICKET)}

#: Who calls off an upload that the service has accepted and not published yet.
CANCELLER = "files.cancel"

#: What the agent's grant allows.
SCOPES = ["email.send mailto:*@example.com", "calendar.*", "files.*", "invoice.send", "ticket.*"]
