"""Roles of members, and what each may do."""

from collections.abc import Mapping
from typing import Final, Literal

Role = Literal["owner", "finance", "viewer", "operator"]

Permission = Literal[
    # See the figures of all apps of the owner.
    "view",
    # Confirm transfers by a bank, and note what was transferred back.
    "payments",
    # Issue, rotate and revoke API keys.
    "keys",
    # Order packs, and record those that were bought elsewhere.
    "buy",
    # Change how members sign up, and which alerts go where.
    "settings",
    # Save invoice titles, and apply for invoices.
    "invoices",
    # Issue, refuse and void invoices.
    "invoice_decisions",
    # Send charge notices to those whom routes of alerts reach.
    "notices",
    # Invite members, change their roles, read the audit trail.
    "members",
]

PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    "owner": frozenset({"view", "keys", "settings", "notices", "members", "buy", "invoices"}),
    "finance": frozenset({"view", "buy", "invoices"}),
    "viewer": frozenset({"view"}),
    "operator": frozenset({"view", "keys", "settings", "invoice_decisions", "payments", "notices"}),
}

ROLES: Final[tuple[Role, ...]] = tuple(PERMISSIONS)
