"""The price list: the published packs, with those of the operator's file besides or in their place."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from metering.catalogue import DEFAULT, Offer
from metering.events import Capability
from metering.written_tables import FILE_BYTES_MAX, TableError, table_as, tables_of, unreadable
from phonemeter.errors import UserError

OFFERS_MAX: Final = 100

Calls = Annotated[int, Meta(ge=1, le=1_000_000_000)]
MicroYuan = Annotated[int, Meta(ge=1, le=1_000_000_000_000_000)]


class _Offer(Struct):
    capability: Capability
    calls: Calls
    validity_days: Literal[90, 180, 365]
    price_micro_yuan: MicroYuan
    list_price_micro_yuan: MicroYuan | None = None


def price_list(path: Path | None) -> tuple[Offer, ...]:
    """The packs on sale.

    Raises:
        UserError: the file can't be read, or has a mistake.
    """
    if path is None:
        return DEFAULT
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(unreadable(path, error.strerror, "console_price_list")) from None
    try:
        offers = _offers(path, tables_of(path, text, ("offers",), "offers").get("offers", []))
    except TableError as error:
        raise UserError(str(error)) from None
    by_pack = {(one.capability, one.calls, one.validity_days): one for one in (*DEFAULT, *offers)}
    return tuple(by_pack.values())


def _offers(path: Path, tables: Any) -> list[Offer]:  # noqa: ANN401 - whatever the file has there
    if not isinstance(tables, list) or len(tables) > OFFERS_MAX:
        raise TableError(f"{path}: offers are at most {OFFERS_MAX} tables; write [[offers]] above each.")
    found = []
    for number, table in enumerate(tables):
        where = f"{path}: offers[{number}]"
        given = table_as(where, table, _Offer)
        listed = given.list_price_micro_yuan or given.price_micro_yuan
        if listed < given.price_micro_yuan:
            raise TableError(f"{where}: the list price is below the price; leave it out, or correct it.")
        found.append(
            Offer(given.capability, given.calls, given.validity_days, given.price_micro_yuan, listed)
        )
    return found
