"""The role operator only for members whom `phonemeter members add` gave it; the others become viewers.

Older consoles let owners give it, and it may confirm payments to whoever runs phonemeter.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COMMAND_LINE = "phonemeter"

MEMBERS = sa.table("members", sa.column("member_id"), sa.column("email"))
MEMBERSHIPS = sa.table("memberships", sa.column("member_id"), sa.column("owner_id"), sa.column("role"))
AUDIT_TRAIL = sa.table(
    "audit_trail",
    sa.column("entry_id"),
    sa.column("at_ms"),
    sa.column("owner_id"),
    sa.column("who"),
    sa.column("what"),
    sa.column("subject"),
)


def upgrade() -> None:
    """Settle the role of every operator by the newest word of the audit trail."""
    connection = op.get_bind()
    operators = (
        sa.select(MEMBERSHIPS.c.member_id, MEMBERSHIPS.c.owner_id, MEMBERS.c.email)
        .join(MEMBERS, MEMBERS.c.member_id == MEMBERSHIPS.c.member_id)
        .where(MEMBERSHIPS.c.role == "operator")
    )
    for member_id, owner_id, email in connection.execute(operators).all():
        told = sa.or_(
            sa.and_(AUDIT_TRAIL.c.what == "member_added", AUDIT_TRAIL.c.subject == email),
            sa.and_(AUDIT_TRAIL.c.what == "role_changed", AUDIT_TRAIL.c.subject == f"{email}: operator"),
        )
        newest = (
            sa.select(AUDIT_TRAIL.c.who)
            .where(AUDIT_TRAIL.c.owner_id == owner_id, told)
            .order_by(AUDIT_TRAIL.c.entry_id.desc())
            .limit(1)
        )
        if connection.execute(newest).scalar_one_or_none() == COMMAND_LINE:
            continue
        here = (MEMBERSHIPS.c.member_id == member_id) & (MEMBERSHIPS.c.owner_id == owner_id)
        connection.execute(sa.update(MEMBERSHIPS).where(here).values(role="viewer"))
        entry = {
            "at_ms": time.time_ns() // 1_000_000,
            "owner_id": owner_id,
            "who": COMMAND_LINE,
            "what": "role_changed",
            "subject": f"{email}: viewer",
        }
        connection.execute(sa.insert(AUDIT_TRAIL).values(entry))


def downgrade() -> None:
    """Leave the roles as they are."""
