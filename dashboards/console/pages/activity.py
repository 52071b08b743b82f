"""The audit trail of the owner: who did what."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.buying_guide import GUIDE_STEPS
from dashboards.console.languages import Wording, marked
from dashboards.console.members import ENTRIES_A_PAGE, AuditEntry, MemberStore
from dashboards.console.page_guard import ConsolePage
from dashboards.console.visit import Visit

DEEDS: Final[Mapping[str, str]] = {
    "owner_added": marked("added the owner"),
    "apps_changed": marked("changed the apps"),
    "member_added": marked("added the member"),
    "member_disabled": marked("disabled the member"),
    "member_enabled": marked("enabled the member"),
    "member_removed": marked("removed the member"),
    "role_changed": marked("changed the role of"),
    "link_renewed": marked("gave a link for a new password to"),
    "password_chosen": marked("chose a password"),
    "signed_in": marked("signed in"),
    "signed_out_everywhere": marked("signed out everywhere"),
    "key_issued": marked("issued the API key"),
    "key_rotated": marked("rotated the API key"),
    "key_revoked": marked("revoked the API key"),
    "alert_acknowledged": marked("acknowledged the alert"),
    "route_tested": marked("sent a test message through the route"),
    "recipient_added": marked("added the recipient of alerts"),
    "recipient_changed": marked("changed the recipient of alerts"),
    "recipient_removed": marked("removed the recipient of alerts"),
    "recipient_tested": marked("sent a test message to the recipient"),
    "quiet_hours_set": marked("set the quiet hours of alerts:"),
    "alerting_set": marked("changed the alert levels of"),
    "routing_set": marked("changed the member-card settings of"),
    "guide_ticked": marked("ticked in the guide to buying at WeChat"),
    "guide_unticked": marked("unticked in the guide to buying at WeChat"),
    "guide_begun_again": marked("began the guide to buying at WeChat again for"),
    "charge_notice_requested": marked("sent a charge notice about"),
    "pack_recorded": marked("recorded the pack"),
    "order_created": marked("created the order"),
    "order_paying": marked("accepted the terms and began to pay the order"),
    "order_paid": marked("noted the payment of the order"),
    "order_active": marked("delivered the pack of the order"),
    "order_cancelled": marked("cancelled the order"),
    "order_expired": marked("ended the unpaid order"),
    "order_refund_asked": marked("asked for the refund of the order"),
    "order_refund_refused": marked("had the refund refused of the order"),
    "order_refunded": marked("had the refund granted of the order"),
    "order_wrong_amount": marked("noted a wrong amount for the order"),
    "order_order_ended": marked("noted money for the order, which had ended,"),
    "order_paid_twice": marked("noted a second payment of the order"),
    "order_return_under_way": marked("began to give money back for the order"),
    "order_return_by_hand": marked("asked for a transfer back for the order"),
    "order_returned": marked("noted that the money is back for the order"),
    "invoice_title_saved": marked("saved the invoice title"),
    "invoice_title_removed": marked("removed the invoice title"),
    "invoice_applied": marked("applied for the invoice"),
    "invoice_issued": marked("issued the invoice"),
    "invoice_refused": marked("turned down the invoice"),
    "invoice_voided": marked("voided the invoice"),
}
"""By the word in the audit trail, what was done."""

NUMBER: Final = "[0-9]{1,18}"


class ActivityPage:
    """The page of the audit trail."""

    def __init__(self, members: MemberStore) -> None:
        self._members = members

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The page."""
        return [ConsolePage("/activity", self._show, "members", title=marked("Activity"))]

    async def _show(self, visit: Visit) -> Response:
        text = visit.request.query_params.get("before", "")
        before = int(text) if re.fullmatch(NUMBER, text) else None
        entries = await asyncio.to_thread(self._members.audit_trail, visit.member.membership.owner_id, before)
        shown = entries[:ENTRIES_A_PAGE]
        values = {
            "deeds": DEEDS,
            "entries": shown,
            "is_first": before is None,
            "subjects": {entry.entry_id: _subject(entry, visit.wording) for entry in shown},
            "older": shown[-1].entry_id if len(entries) > len(shown) else "",
        }
        return visit.page("activity.html", values)


def _subject(entry: AuditEntry, wording: Wording) -> str:
    """The subject of a deed, without words of the database."""
    first, _, last = entry.subject.partition(" ")
    if entry.what == "order_paying":
        return first
    if entry.what.startswith("guide_"):
        title = next((wording.text(step.title) for step in GUIDE_STEPS if step.name == last), last)
        return f"{first} {title}".strip()
    return entry.subject
