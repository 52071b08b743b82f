"""The titles that owners have saved for their invoices."""

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from dashboards.console.errors import RefusedChangeError
from dashboards.console.invoice_titles import TitleText
from dashboards.console.invoices import TITLES_MAX, SavedTitle
from dashboards.console.members import Actor
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.owners import lock_owner
from phonemeter.business.tables import INVOICE_TITLES
from producers.clock import wall_clock_ms


class BusinessTitles:
    """The titles, as the console's protocol has them."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def titles_of(self, owner_id: str) -> Sequence[SavedTitle]:
        """The saved titles of an owner."""
        columns = INVOICE_TITLES.c
        chosen = (
            select(INVOICE_TITLES)
            .where(columns.owner_id == owner_id)
            .order_by(columns.created_at_ms.desc(), columns.title_id)
        )
        with console_transaction(self._database) as connection:
            return [
                SavedTitle(row.title_id, TitleText(row.kind, row.name, row.tax_number))
                for row in connection.execute(chosen)
            ]

    def save_title(self, actor: Actor, title: TitleText) -> str:
        """Save a title once."""
        columns = INVOICE_TITLES.c
        of_owner = columns.owner_id == actor.owner_id
        same = (
            of_owner
            & (columns.kind == title.kind)
            & (columns.name == title.name)
            & (columns.tax_number == title.tax_number)
        )
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            saved = connection.execute(select(columns.title_id).where(same)).scalar_one_or_none()
            if saved is not None:
                return str(saved)
            count = select(func.count()).select_from(INVOICE_TITLES).where(of_owner)
            if connection.execute(count).scalar_one() >= TITLES_MAX:
                raise RefusedChangeError("too_many")
            title_id = secrets.token_hex(8)
            row = {
                "title_id": title_id,
                "owner_id": actor.owner_id,
                "kind": title.kind,
                "name": title.name,
                "tax_number": title.tax_number,
                "created_at_ms": wall_clock_ms(),
            }
            connection.execute(insert(INVOICE_TITLES).values(row))
            note(connection, actor, "invoice_title_saved", title.name)
        return title_id

    def remove_title(self, actor: Actor, title_id: str) -> None:
        """Remove a title."""
        with console_transaction(self._database) as connection:
            lock_owner(connection, actor.owner_id)
            title = found_title(connection, actor.owner_id, title_id)
            connection.execute(delete(INVOICE_TITLES).where(INVOICE_TITLES.c.title_id == title_id))
            note(connection, actor, "invoice_title_removed", title.name)


def found_title(connection: Connection, owner_id: str, title_id: str) -> TitleText:
    """A saved title of an owner.

    Raises:
        RefusedChangeError: there is none of this id.
    """
    columns = INVOICE_TITLES.c
    chosen = select(INVOICE_TITLES).where((columns.title_id == title_id) & (columns.owner_id == owner_id))
    row = connection.execute(chosen).one_or_none()
    if row is None:
        raise RefusedChangeError("not_there")
    return TitleText(row.kind, row.name, row.tax_number)
