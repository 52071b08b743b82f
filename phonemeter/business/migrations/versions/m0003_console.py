"""Owners of apps, the members who sign in to the console, their sessions, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the console."""
    op.create_table(
        "owners",
        sa.Column("owner_id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "owner_apps",
        sa.Column("appid", sa.String(64), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), nullable=False, index=True),
        sa.Column("added_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("member_id", sa.String(16), primary_key=True),
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String(256)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger),
    )
    op.create_table(
        "memberships",
        sa.Column("member_id", sa.String(16), sa.ForeignKey("members.member_id"), primary_key=True),
        sa.Column("owner_id", sa.String(16), sa.ForeignKey("owners.owner_id"), primary_key=True, index=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("added_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "password_links",
        sa.Column("member_id", sa.String(16), sa.ForeignKey("members.member_id"), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("member_id", sa.String(16), sa.ForeignKey("members.member_id"), nullable=False, index=True),
        sa.Column("owner_id", sa.String(16), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "audit_trail",
        sa.Column(
            "entry_id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("owner_id", sa.String(16), index=True),
        sa.Column("who", sa.String(254), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(254), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables of the console."""
    for name in (
        "audit_trail",
        "sessions",
        "password_links",
        "memberships",
        "members",
        "owner_apps",
        "owners",
    ):
        op.drop_table(name)
