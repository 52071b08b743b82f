"""Recipients of alerts that owners set up, and their quiet hours."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of recipients and quiet hours."""
    op.create_table(
        "alert_recipients",
        sa.Column("recipient_id", sa.String(16), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), nullable=False, index=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(254), nullable=False),
        sa.Column("secret", sa.String(128), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("severities", sa.JSON, nullable=False),
        sa.Column("added_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("owner_id", "kind", "target", name="one_recipient_per_target"),
    )
    op.create_table(
        "quiet_hours",
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), primary_key=True),
        sa.Column("begins", sa.String(5), nullable=False),
        sa.Column("ends", sa.String(5), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables of recipients and quiet hours."""
    for name in ("quiet_hours", "alert_recipients"):
        op.drop_table(name)
