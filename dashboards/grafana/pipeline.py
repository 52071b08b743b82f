"""The page of pipeline health: throughput, lag, refusals, audit."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import pipeline_alerts, pipeline_faults, pipeline_gateway
from dashboards.grafana.page import start
from dashboards.grafana.panels import (
    A_SECOND,
    NUMBER,
    SECONDS,
    Page,
    any_is_bad,
    from_steps,
)
from dashboards.grafana.prometheus import measure, measure_now, quantile, rate_by
from dashboards.grafana.words import Words

_BROKEN: Final = " or ".join(
    f"phonemeter_{one}_healthy == 0" for one in ("worker", "sink", "notifier", "gateway", "audit")
)


def build(t: Words) -> Dashboard:
    """The page."""
    about = (
        "From Kafka to ClickHouse and to people: throughput, lag, freshness, what was refused or retried, and"
        " whether the ledger is right."
    )
    page = start(t, "pipeline", about, since="now-6h")
    _figures(page)
    _throughput(page)
    _lag(page)
    _batches(page)
    pipeline_gateway.gateway(page)
    pipeline_faults.refused(page)
    pipeline_faults.recovery(page)
    pipeline_faults.stores(page)
    pipeline_faults.audit(page)
    pipeline_alerts.alerts(page)
    return page.board


def _figures(page: Page) -> None:
    for title, about, expr, unit, steps in (
        (
            "Services down",
            (
                "Targets of Prometheus that do not answer, or answer that they do not keep what they promise:"
                " /healthz of each says what. Events wait in Kafka meanwhile; nothing is lost."
            ),
            f"(count(up == 0) or vector(0)) + (count(count without (promise) ({_BROKEN})) or vector(0))",
            NUMBER,
            any_is_bad(),
        ),
        (
            "Lag",
            "Age of the oldest event that the worker has not metered yet.",
            "max(phonemeter_worker_lag_seconds)",
            SECONDS,
            from_steps("green", (30, "orange"), (300, "red")),
        ),
        (
            "Freshness, 99 %",
            "From an event's arrival at Kafka to its entry in ClickHouse.",
            quantile(0.99, "phonemeter_sink_freshness_seconds"),
            SECONDS,
            from_steps("green", (10, "orange"), (60, "red")),
        ),
        (
            "Stopped partitions",
            (
                "Partitions of the ledger that stand at a record that cannot be stored. It takes a person:"
                " see the sink's log."
            ),
            "sum(phonemeter_sink_stopped)",
            NUMBER,
            from_steps("green", (1, "dark-red")),
        ),
        (
            "Entries that differ",
            "Findings of the last audit: entries of the ledger or of ClickHouse that differ from the rules.",
            "sum(phonemeter_audit_drift_entries)",
            NUMBER,
            from_steps("green", (1, "dark-red")),
        ),
        (
            "Alerts undelivered",
            "Alerts that were given up on after a day of attempts. See: phonemeter alerts list.",
            "sum(phonemeter_notifier_dead)",
            NUMBER,
            any_is_bad(),
        ),
    ):
        page.stat(title, about, measure_now(expr, page.t(title)), unit=unit, steps=steps, width=4)


def _throughput(page: Page) -> None:
    page.row("Throughput")
    page.series(
        "Events metered",
        "Records of phone-events a second, by partition.",
        measure((rate_by("phonemeter_worker_records_total", "partition"), "{{partition}}")),
        unit=A_SECOND,
        width=8,
        stacked=True,
    )
    page.series(
        "Ledger entries",
        "Entries published a second, by what they record.",
        measure((rate_by("phonemeter_worker_ledger_entries_total", "kind"), "{{kind}}")),
        unit=A_SECOND,
        width=8,
    )
    page.series(
        "Entries stored",
        "Entries of the ledger that ClickHouse acknowledged, a second, and INSERTs a second.",
        measure(
            ("sum(rate(phonemeter_sink_rows_inserted_total[$__rate_interval]))", page.t("Entries")),
            ("sum(rate(phonemeter_sink_inserts_total[$__rate_interval]))", "INSERT"),
        ),
        unit=A_SECOND,
        width=8,
    )


def _lag(page: Page) -> None:
    page.row("Lag and freshness")
    page.series(
        "Lag in records",
        "Events that are not metered yet, and ledger records that are not in ClickHouse yet.",
        measure(
            ("sum(phonemeter_worker_lag_records)", page.t("Worker")),
            ("sum(phonemeter_sink_lag_records)", page.t("Sink")),
        ),
        unit=NUMBER,
        width=8,
    )
    page.series(
        "Lag in seconds",
        "Age of the oldest record that still waits, of the partition that is furthest behind.",
        measure(
            ("max(phonemeter_worker_lag_seconds)", page.t("Worker")),
            ("max(phonemeter_sink_lag_seconds)", page.t("Sink")),
        ),
        unit=SECONDS,
        width=8,
    )
    page.series(
        "Freshness, end to end",
        "From an event's arrival at Kafka to the acknowledgement of its entry by ClickHouse.",
        measure(
            (quantile(0.5, "phonemeter_sink_freshness_seconds"), "50 %"),
            (quantile(0.99, "phonemeter_sink_freshness_seconds"), "99 %"),
            ("max(phonemeter_sink_newest_line_age_seconds)", page.t("Age of the newest entry")),
        ),
        unit=SECONDS,
        width=8,
    )


def _batches(page: Page) -> None:
    page.row("Batches")
    page.series(
        "Batch sizes",
        "Records per batch of the worker and entries per INSERT of the sink; half of them are smaller.",
        measure(
            (quantile(0.5, "phonemeter_worker_batch_records"), page.t("Worker")),
            (quantile(0.5, "phonemeter_sink_batch_rows"), page.t("Sink")),
        ),
        unit=NUMBER,
        width=8,
    )
    page.series(
        "Time per batch, 95 %",
        "The worker: from a batch's delivery to the acknowledgement of its state. The sink: one INSERT.",
        measure(
            (quantile(0.95, "phonemeter_worker_batch_seconds"), page.t("Worker")),
            (quantile(0.95, "phonemeter_sink_insert_seconds"), page.t("Sink")),
            (quantile(0.95, "phonemeter_worker_commit_seconds"), page.t("Commit of offsets")),
        ),
        unit=SECONDS,
        width=8,
    )
    page.series(
        "Event loop of the worker, 99 %",
        "How late the loop gets to what is due. Much of it: the worker is at its limit.",
        measure((quantile(0.99, "phonemeter_worker_event_loop_lag_seconds"), page.t("Worker"))),
        unit=SECONDS,
        width=8,
    )
