"""Holds of calls."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the holds."""
    op.create_table(
        "holds",
        sa.Column("hold_id", sa.String(32), primary_key=True),
        sa.Column("appid", sa.String(64), nullable=False),
        sa.Column("capability", sa.String(16), nullable=False),
        sa.Column("store", sa.String(64), nullable=False),
        sa.Column("granted_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
        sa.Column("repeat", sa.String(64), unique=True),
        sa.Column("event_id", sa.String(128)),
        sa.Column("seen_offset", sa.BigInteger),
    )
    for name in ("appid", "ends_at_ms", "event_id"):
        op.create_index(f"ix_holds_{name}", "holds", [name])


def downgrade() -> None:
    """Drop the table of the holds."""
    op.drop_table("holds")
