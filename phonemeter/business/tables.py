"""The tables of the business database. A change here needs a migration in `migrations/versions`."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA: Final = MetaData()

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("key_id", String(8), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("apps", JSON, nullable=False),
    Column("events_per_s", Integer),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger, index=True),
)
"""API keys with the SHA-256 of their text; times are UTC in milliseconds, no apps means all."""

HOLDS: Final = Table(
    "holds",
    METADATA,
    Column("hold_id", String(32), primary_key=True),
    Column("appid", String(64), nullable=False, index=True),
    Column("capability", String(16), nullable=False),
    Column("store", String(64), nullable=False),
    Column("granted_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False, index=True),
    Column("repeat", String(64), unique=True),
    Column("event_id", String(128), index=True),
    Column("seen_offset", BigInteger),
)
"""Calls that are held for somebody, for minutes; see `sinks.balances.holds`."""

OWNERS: Final = Table(
    "owners",
    METADATA,
    Column("owner_id", String(16), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
)
"""Owners of apps: an owner is who sees them in the console together."""

OWNER_APPS: Final = Table(
    "owner_apps",
    METADATA,
    Column("appid", String(64), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), nullable=False, index=True),
    Column("added_at_ms", BigInteger, nullable=False),
)
"""The apps of each owner; an app has one owner at most."""

MEMBERS: Final = Table(
    "members",
    METADATA,
    Column("member_id", String(16), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("password_hash", String(256)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
)
"""People who sign in; without a hash they have not chosen a password yet."""

MEMBERSHIPS: Final = Table(
    "memberships",
    METADATA,
    Column("member_id", String(16), ForeignKey("members.member_id"), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), primary_key=True, index=True),
    Column("role", String(16), nullable=False),
    Column("added_at_ms", BigInteger, nullable=False),
)
"""Whose apps a member sees, and in which role."""

PASSWORD_LINKS: Final = Table(
    "password_links",
    METADATA,
    Column("member_id", String(16), ForeignKey("members.member_id"), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("expires_at_ms", BigInteger, nullable=False),
)
"""One-time links to choose a password with, as the SHA-256 of their token; one per member."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("member_id", String(16), ForeignKey("members.member_id"), nullable=False, index=True),
    Column("owner_id", String(16), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False, index=True),
)
"""Sign-ins that have not ended, as the SHA-256 of their token, with the owner whose apps are shown."""

AUDIT_TRAIL: Final = Table(
    "audit_trail",
    METADATA,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("owner_id", String(16), index=True),
    Column("who", String(254), nullable=False),
    Column("what", String(32), nullable=False),
    Column("subject", String(254), nullable=False),
)
"""Changes and their authors; `who` is an e-mail address, or the command line."""

ORDERS: Final = Table(
    "orders",
    METADATA,
    Column("order_id", String(21), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), nullable=False, index=True),
    Column("appid", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("capability", String(16), nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("validity_days", Integer, nullable=False),
    Column("price_micro_yuan", BigInteger, nullable=False),
    Column("list_price_micro_yuan", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("once", String(80), unique=True),
    Column("created_by", String(254), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False, index=True),
    Column("terms", String(32)),
    Column("terms_at_ms", BigInteger),
    Column("provider", String(16)),
    Column("offer_kind", String(16)),
    Column("offer_text", Text),
    Column("paid_at_ms", BigInteger),
    Column("pack_id", String(128), index=True),
    Column("refund_asked_at_ms", BigInteger),
    Column("refund_refusal", String(32)),
)
"""Orders of packs; see `dashboards.console.orders`. `version` counts the changes of a row."""

PAYMENTS: Final = Table(
    "payments",
    METADATA,
    Column("payment_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("order_id", String(21), ForeignKey("orders.order_id"), nullable=False, index=True),
    Column("provider", String(16), nullable=False),
    Column("transaction_id", String(64), nullable=False),
    Column("amount_micro_yuan", BigInteger, nullable=False),
    Column("paid_at_ms", BigInteger, nullable=False),
    Column("noted_at_ms", BigInteger, nullable=False),
    Column("noted_by", String(254), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("return_state", String(16), index=True),
    Column("returned_at_ms", BigInteger),
    UniqueConstraint("provider", "transaction_id", name="one_payment_per_transaction"),
)
"""Money that came for orders, each transaction once; `return_state` is set where it goes back."""

ORDER_STEPS: Final = Table(
    "order_steps",
    METADATA,
    Column("step_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("order_id", String(21), ForeignKey("orders.order_id"), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String(254), nullable=False),
    Column("what", String(32), nullable=False),
    Column("details", String(254), nullable=False),
)
"""The history of each order."""

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("place", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", String(128), nullable=False, unique=True),
    Column("owner_id", String(16), nullable=False),
    Column("appid", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("order_id", String(21)),
    Column("event", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("published_at_ms", BigInteger, index=True),
    Column("trouble", String(254), nullable=False),
    Index("outbox_by_app", "appid", "kind"),
)
"""Facts that wait for `phone-events`, and those that are there; `place` is their order."""

ALERT_ACKNOWLEDGEMENTS: Final = Table(
    "alert_acknowledgements",
    METADATA,
    Column("alert_id", String(64), primary_key=True),
    Column("appid", String(64), nullable=False),
    Column("who", String(254), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""Alerts that a member of the console takes care of; the notifier's log has the same for its deliveries."""

GUIDE_TICKS: Final = Table(
    "guide_ticks",
    METADATA,
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), primary_key=True),
    Column("appid", String(64), primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("who", String(254), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""Steps of the guide to buying at WeChat that an owner's members have done for an app."""

ALERT_RECIPIENTS: Final = Table(
    "alert_recipients",
    METADATA,
    Column("recipient_id", String(16), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), nullable=False, index=True),
    Column("name", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("target", String(254), nullable=False),
    Column("secret", String(128), nullable=False),
    Column("language", String(8), nullable=False),
    Column("severities", JSON, nullable=False),
    Column("added_at_ms", BigInteger, nullable=False),
    UniqueConstraint("owner_id", "kind", "target", name="one_recipient_per_target"),
)
"""Recipients of alerts that owners set up; `target` and `secret` are secrets."""

QUIET_HOURS: Final = Table(
    "quiet_hours",
    METADATA,
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), primary_key=True),
    Column("begins", String(5), nullable=False),
    Column("ends", String(5), nullable=False),
)
"""The daily hours, of Asia/Shanghai, in which an owner's recipients get urgent alerts only."""

INVOICE_TITLES: Final = Table(
    "invoice_titles",
    METADATA,
    Column("title_id", String(16), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(100), nullable=False),
    Column("tax_number", String(18), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
"""Titles that owners have saved; without a tax number it is empty."""

INVOICES: Final = Table(
    "invoices",
    METADATA,
    Column("invoice_id", String(21), primary_key=True),
    Column("owner_id", String(16), ForeignKey("owners.owner_id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(100), nullable=False),
    Column("tax_number", String(18), nullable=False),
    Column("month", String(7), nullable=False),
    Column("amount_micro_yuan", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("applied_at_ms", BigInteger, nullable=False),
    Column("applied_by", String(254), nullable=False),
    Column("decided_at_ms", BigInteger),
    Column("decided_by", String(254)),
    Column("decision_reason", String(200)),
    Column("voided_at_ms", BigInteger),
    Column("voided_by", String(254)),
    Column("void_reason", String(200)),
)
"""Invoices with their title as it was when they were applied for; see `dashboards.console.invoices`."""

INVOICE_ORDERS: Final = Table(
    "invoice_orders",
    METADATA,
    Column("invoice_id", String(21), ForeignKey("invoices.invoice_id"), primary_key=True),
    Column("order_id", String(21), ForeignKey("orders.order_id"), primary_key=True),
    Column("is_valid", Boolean, nullable=False),
    Index(
        "one_valid_invoice_per_order",
        "order_id",
        unique=True,
        sqlite_where=text("is_valid"),
        postgresql_where=text("is_valid"),
    ),
)
"""The orders of each invoice; `is_valid` until it is refused or voided, and an order is on one such only."""
