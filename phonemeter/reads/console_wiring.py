"""The pages of the console on which owners set up their apps, with all that they need."""

from functools import partial

from dashboards.console.facts import FactDesk
from dashboards.console.owner_settings import OwnerSettingPages
from dashboards.http.pool import ReadPool
from phonemeter.business.console_alerts import ConsoleAlerts
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.recipients import BusinessRecipients
from phonemeter.reads.connection import ReadOnlyConnection
from phonemeter.settings import Settings


def setting_pages(settings: Settings, facts: FactDesk, database: BusinessDatabase) -> OwnerSettingPages:
    """The pages."""
    url = settings.reads_clickhouse or settings.clickhouse
    pool = ReadPool(
        partial(ReadOnlyConnection, url, settings.reads_answer_s),
        settings.reads_connections,
        settings.reads_waiting_max,
        settings.reads_answer_s,
    )
    alerts = ConsoleAlerts(database, settings.kafka_access, settings.alert_routes)
    recipients = None
    if settings.console_recipients:
        recipients = BusinessRecipients(database, settings.alert_mail, settings.notifier_timeout_s)
    return OwnerSettingPages(pool, facts, alerts, recipients, settings.rules())
