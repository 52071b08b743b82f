"""Ticks on the steps of the guide to buying at WeChat."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the ticks."""
    op.create_table(
        "guide_ticks",
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), primary_key=True),
        sa.Column("appid", sa.String(64), primary_key=True),
        sa.Column("step", sa.String(16), primary_key=True),
        sa.Column("who", sa.String(254), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop the table of the ticks."""
    op.drop_table("guide_ticks")
