"""The demo's way into the console: an owner of all its apps, and a link for its first member."""

from collections.abc import Iterable
from typing import Final

from dashboards.console.pages.members import password_address
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import APPS_MAX, OwnerStore
from phonemeter.settings import Settings

OWNER: Final = "Demo"
EMAIL: Final = "demo@phonemeter.example"


def console_link(settings: Settings, appids: Iterable[str]) -> str:
    """A one-time link that signs in to the console, as the owner of some apps.

    Raises:
        OperationError: the business database can't be used.
    """
    with BusinessDatabase(settings.business_url) as database:
        owners, members = OwnerStore(database), MemberRegister(database)
        if not any(one.name == OWNER for one in owners.every_owner()):
            owners.add(OWNER, ())
        shown = sorted(appids)[:APPS_MAX]
        earlier = next(one for one in owners.every_owner() if one.name == OWNER)
        owners.change_apps(OWNER, shown, sorted(set(earlier.apps) - set(shown)))
        if not any(one.email == EMAIL for one in members.every_member()):
            members.add(EMAIL, "Demo", OWNER, "owner")
        link = members.renew_link(EMAIL)
    return password_address(f"http://127.0.0.1:{settings.console_port}", link.token)
