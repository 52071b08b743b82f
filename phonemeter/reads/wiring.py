"""The reads over HTTP with all that they need."""

from functools import partial

from prometheus_client import CollectorRegistry

from dashboards.console.cause_desk import CauseDesk
from dashboards.console.figures import FigurePages
from dashboards.console.service import Records
from dashboards.http.events import StoredEvents
from dashboards.http.metrics import ReadsMetrics
from dashboards.http.part import ReadsPart
from dashboards.http.pool import ReadPool
from dashboards.http.reads import Reads
from phonemeter.reads.connection import ReadOnlyConnection
from phonemeter.reads.explainer import ProcessExplainer
from phonemeter.reads.progress import KafkaProgress
from phonemeter.settings import Settings
from sinks.entry_columns import shorten_ids


def reads_part(settings: Settings, registry: CollectorRegistry) -> ReadsPart:
    """The reads as a part of the HTTP interface, with their metrics in a registry."""
    url = settings.reads_clickhouse or settings.clickhouse
    pool = _pool(settings, url)
    explainer = ProcessExplainer(settings.replaced(clickhouse=url))
    events = StoredEvents(lambda event_id: shorten_ids((event_id,), settings.event_id_digits)[0])
    return ReadsPart(
        Reads(pool, events, explainer), pool, KafkaProgress(settings.kafka_access), ReadsMetrics(registry)
    )


def figure_pages(settings: Settings, records: Records, causes: CauseDesk) -> FigurePages:
    """The pages of the console that read the ledger."""
    pool = _pool(settings, settings.reads_clickhouse or settings.clickhouse)
    served = f"http://{settings.gateway_host}:{settings.gateway_port}"
    gateway = settings.console_gateway or served
    return FigurePages(pool, records.keys, records.orders, records.facts, gateway, causes, records.guide)


def _pool(settings: Settings, url: str) -> ReadPool:
    return ReadPool(
        partial(ReadOnlyConnection, url, settings.reads_answer_s),
        settings.reads_connections,
        settings.reads_waiting_max,
        settings.reads_answer_s,
    )
