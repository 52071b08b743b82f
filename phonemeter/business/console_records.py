"""The stores that the console works on."""

from dashboards.console.service import Records
from phonemeter.business.console_keys import OwnerKeys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.business.members import BusinessMembers
from phonemeter.business.sessions import BusinessSessions
from phonemeter.settings import Settings


def console_records(database: BusinessDatabase, settings: Settings) -> Records:
    """The stores on the business database."""
    return Records(
        BusinessSessions(database, settings.console_idle_min, settings.console_session_h),
        BusinessMembers(database),
        OwnerKeys(KeyStore(database)),
    )
