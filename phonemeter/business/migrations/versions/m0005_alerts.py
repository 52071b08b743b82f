"""Acknowledgements of alerts by members of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of acknowledgements."""
    op.create_table(
        "alert_acknowledgements",
        sa.Column("alert_id", sa.String(64), primary_key=True),
        sa.Column("appid", sa.String(64), nullable=False),
        sa.Column("who", sa.String(254), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop the table of acknowledgements."""
    op.drop_table("alert_acknowledgements")
