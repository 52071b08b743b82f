"""Orders with their steps and payments, and the outbox of facts that wait for `phone-events`."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _counted(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column(name, kind, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Create the tables of orders and the outbox."""
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(21), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), nullable=False, index=True),
        sa.Column("appid", sa.String(64), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("capability", sa.String(16), nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("validity_days", sa.Integer, nullable=False),
        sa.Column("price_micro_yuan", sa.BigInteger, nullable=False),
        sa.Column("list_price_micro_yuan", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("once", sa.String(80), unique=True),
        sa.Column("created_by", sa.String(254), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
        sa.Column("terms", sa.String(32)),
        sa.Column("terms_at_ms", sa.BigInteger),
        sa.Column("provider", sa.String(16)),
        sa.Column("offer_kind", sa.String(16)),
        sa.Column("offer_text", sa.Text),
        sa.Column("paid_at_ms", sa.BigInteger),
        sa.Column("pack_id", sa.String(128), index=True),
        sa.Column("refund_asked_at_ms", sa.BigInteger),
        sa.Column("refund_refusal", sa.String(32)),
    )
    op.create_table(
        "payments",
        _counted("payment_id"),
        sa.Column("order_id", sa.String(21), sa.ForeignKey("orders.order_id"), nullable=False, index=True),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column("transaction_id", sa.String(64), nullable=False),
        sa.Column("amount_micro_yuan", sa.BigInteger, nullable=False),
        sa.Column("paid_at_ms", sa.BigInteger, nullable=False),
        sa.Column("noted_at_ms", sa.BigInteger, nullable=False),
        sa.Column("noted_by", sa.String(254), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("return_state", sa.String(16), index=True),
        sa.Column("returned_at_ms", sa.BigInteger),
        sa.UniqueConstraint("provider", "transaction_id", name="one_payment_per_transaction"),
    )
    op.create_table(
        "order_steps",
        _counted("step_id"),
        sa.Column("order_id", sa.String(21), sa.ForeignKey("orders.order_id"), nullable=False, index=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("who", sa.String(254), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("details", sa.String(254), nullable=False),
    )
    op.create_table(
        "outbox",
        _counted("place"),
        sa.Column("event_id", sa.String(128), nullable=False, unique=True),
        sa.Column("owner_id", sa.String(16), nullable=False),
        sa.Column("appid", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(21)),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("published_at_ms", sa.BigInteger, index=True),
        sa.Column("trouble", sa.String(254), nullable=False),
        sa.Index("outbox_by_app", "appid", "kind"),
    )


def downgrade() -> None:
    """Drop the tables of orders and the outbox."""
    for name in ("outbox", "order_steps", "payments", "orders"):
        op.drop_table(name)
