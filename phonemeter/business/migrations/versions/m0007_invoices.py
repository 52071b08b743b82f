"""Invoices of orders, with the titles that owners have saved."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of invoices."""
    op.create_table(
        "invoice_titles",
        sa.Column("title_id", sa.String(16), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("tax_number", sa.String(18), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "invoices",
        sa.Column("invoice_id", sa.String(21), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("tax_number", sa.String(18), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("amount_micro_yuan", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("applied_at_ms", sa.BigInteger, nullable=False),
        sa.Column("applied_by", sa.String(254), nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.Column("decided_by", sa.String(254)),
        sa.Column("decision_reason", sa.String(200)),
        sa.Column("voided_at_ms", sa.BigInteger),
        sa.Column("voided_by", sa.String(254)),
        sa.Column("void_reason", sa.String(200)),
    )
    op.create_table(
        "invoice_orders",
        sa.Column("invoice_id", sa.String(21), sa.ForeignKey("invoices.invoice_id"), primary_key=True),
        sa.Column("order_id", sa.String(21), sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("is_valid", sa.Boolean, nullable=False),
    )
    op.create_index(
        "one_valid_invoice_per_order",
        "invoice_orders",
        ["order_id"],
        unique=True,
        sqlite_where=sa.text("is_valid"),
        postgresql_where=sa.text("is_valid"),
    )


def downgrade() -> None:
    """Drop the tables of invoices."""
    for name in ("invoice_orders", "invoices", "invoice_titles"):
        op.drop_table(name)
