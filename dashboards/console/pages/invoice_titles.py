"""Saved titles of invoices: whom an owner's invoices are made out to."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from dashboards.console.errors import RefusedChangeError
from dashboards.console.invoice_titles import (
    CHECK_CHARACTER,
    NO_NUMBER,
    NUMBER_CHARACTERS,
    NUMBER_LENGTH,
    NUMBER_OF_PERSON,
    OLD_NUMBER_CHARACTERS,
    TITLE_CHARACTERS_MAX,
    TITLE_CHARACTERS_MIN,
    TITLE_KINDS,
    title_text,
)
from dashboards.console.invoices import TitleDesk
from dashboards.console.languages import marked
from dashboards.console.page_guard import ConsolePage
from dashboards.console.visit import Visit, local_path

OF_NUMBER: Final[Mapping[str, str]] = {
    "none": NO_NUMBER,
    "person": NUMBER_OF_PERSON,
    "length": NUMBER_LENGTH,
    "characters": NUMBER_CHARACTERS,
    "old": OLD_NUMBER_CHARACTERS,
    "check": CHECK_CHARACTER,
}
"""Faults of a tax number, which the page finds before the form is sent; by the name that its script has."""

REFUSED: Final[Mapping[str, str]] = {
    "not_there": marked("There is no such title."),
    "too_many": marked("There are 20 titles already. Remove some first."),
}


class TitlePages:
    """The page of the saved titles, and what its forms are sent to."""

    def __init__(self, titles: TitleDesk) -> None:
        self._titles = titles

    @property
    def pages(self) -> Sequence[ConsolePage]:
        """The pages."""
        return [
            ConsolePage("/invoices/titles", self._show, "invoices"),
            ConsolePage("/invoices/titles", self._save, "invoices", "POST"),
            ConsolePage("/invoices/titles/remove", self._remove, "invoices", "POST"),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit, visit.request.query_params.get("next", ""))

    async def _save(self, visit: Visit) -> Response:
        following = visit.value("next")
        title = title_text(visit.value("kind"), visit.value("name"), visit.value("tax_number"))
        if isinstance(title, str):
            return await self._page(visit, following, visit.wording.text(title), 422)
        try:
            await asyncio.to_thread(self._titles.save_title, visit.member.actor, title)
        except RefusedChangeError as error:
            return await self._page(visit, following, visit.wording.text(REFUSED[error.reason]), 409)
        return visit.redirect(local_path(following, "/invoices/titles"))

    async def _remove(self, visit: Visit) -> Response:
        title_id = visit.value("title")
        try:
            await asyncio.to_thread(self._titles.remove_title, visit.member.actor, title_id)
        except RefusedChangeError as error:
            return await self._page(visit, "", visit.wording.text(REFUSED[error.reason]), 409)
        return visit.redirect("/invoices/titles")

    async def _page(self, visit: Visit, following: str, mistake: str = "", status: int = 200) -> Response:
        titles = await asyncio.to_thread(self._titles.titles_of, visit.member.membership.owner_id)
        values = {
            "titles": titles,
            "kinds": TITLE_KINDS,
            "next": following if local_path(following, "") else "",
            "faults": OF_NUMBER,
            "least": TITLE_CHARACTERS_MIN,
            "most": TITLE_CHARACTERS_MAX,
            "mistake": mistake,
            "kind": visit.value("kind") or next(iter(TITLE_KINDS)),
            "name": visit.value("name"),
            "tax_number": visit.value("tax_number"),
        }
        return visit.page("invoice_titles.html", values, status)
