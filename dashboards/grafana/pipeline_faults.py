"""Panels on faults: events refused, repeated or tried again; the state of the stores and of the ledger."""

from dashboards.grafana.panels import (
    BYTES,
    NUMBER,
    PERCENT,
    SECONDS,
    TEXT,
    TIME,
    Page,
    ResultColumn,
    any_is_bad,
    ask,
    from_steps,
)
from dashboards.grafana.prometheus import lately, measure


def refused(page: Page) -> None:
    """Records that are no events, repetitions, and calls that no pack covered."""
    page.row("Refused, repeated, not covered")
    page.series(
        "Dead letters",
        "Records that are no events, by reason. They are kept whole: phonemeter dead-letters list.",
        measure((lately("phonemeter_worker_dead_letters_total", "reason"), "{{reason}}")),
        unit=NUMBER,
        width=8,
        stacked=True,
    )
    page.series(
        "Repeated",
        "Duplicates: events whose id was there before. Skipped, left out: delivered again after a"
        " restart, and known.",
        measure(
            (lately('phonemeter_worker_ledger_entries_total{kind="duplicate"}'), page.t("Duplicates")),
            (lately("phonemeter_worker_skipped_records_total"), page.t("Skipped by the worker")),
            (lately("phonemeter_sink_duplicate_rows_total"), page.t("Left out by the sink")),
        ),
        unit=NUMBER,
        width=8,
    )
    page.series(
        "Uncovered calls",
        "As they are metered, by reason.",
        measure((lately("phonemeter_worker_uncovered_calls_total", "reason"), "{{reason}}")),
        unit=NUMBER,
        width=8,
        stacked=True,
    )
    page.table(
        "Dead letters in the ledger",
        "By reason, in the time range.",
        ask("pipeline_rejections"),
        width=10,
        height=6,
        columns=(
            ResultColumn("reason", "Reason", unit=TEXT),
            ResultColumn("records", "Records"),
            ResultColumn("newest", "Newest", unit=TIME),
        ),
    )
    page.table(
        "Back ends",
        "Who sends what, in the time range; many duplicates: a client that repeats without need.",
        ask("pipeline_sources"),
        width=14,
        height=6,
        columns=(
            ResultColumn("source", "Source", unit=TEXT),
            ResultColumn("events", "Events"),
            ResultColumn("duplicates", "Duplicates"),
            ResultColumn(
                "duplicates_percent",
                "Duplicates, share",
                unit=PERCENT,
                steps=from_steps("text", (5, "orange")),
            ),
            ResultColumn("newest", "Newest", unit=TIME),
        ),
    )


def recovery(page: Page) -> None:
    """Work that was tried, read or begun again."""
    page.row("Retries and recovery")
    page.series(
        "Retries",
        "How often the worker waited for Kafka longer than it should, the sink's failed attempts to reach"
        " or write ClickHouse, and failures of Kafka that sink and notifier met; all are repeated.",
        measure(
            (lately("phonemeter_worker_kafka_waits_total"), page.t("Worker")),
            (lately("phonemeter_sink_insert_errors_total"), page.t("Sink")),
            (lately("phonemeter_sink_kafka_errors_total"), page.t("Sink: Kafka")),
            (lately("phonemeter_notifier_kafka_errors_total"), page.t("Notifier: Kafka")),
        ),
        unit=NUMBER,
        width=8,
    )
    page.series(
        "Restores and rebalances",
        "Services that began anew, state read back from Kafka, and partitions that moved.",
        measure(
            ("sum(changes(process_start_time_seconds[$__rate_interval]))", page.t("Restarts")),
            (lately("phonemeter_worker_restores_total"), page.t("State restored")),
            (lately("phonemeter_worker_rebalances_total"), page.t("Rebalances of the worker")),
            (lately("phonemeter_sink_rebalances_total"), page.t("Rebalances of the sink")),
        ),
        unit=NUMBER,
        width=8,
    )
    page.series(
        "Read again",
        "Deliveries that left records out and were asked for again, and partitions that ClickHouse had"
        " lost entries of.",
        measure(
            (lately("phonemeter_worker_seeks_back_total"), page.t("Worker")),
            (lately("phonemeter_sink_seeks_back_total"), page.t("Sink")),
            (lately("phonemeter_sink_rewinds_total"), page.t("Sink: from the beginning")),
        ),
        unit=NUMBER,
        width=8,
    )


def stores(page: Page) -> None:
    """The sink's ClickHouse, and the embedded engine."""
    page.row("ClickHouse")
    page.series(
        "ClickHouse answers",
        "1 while it answers the sink, 0 while it is tried again.",
        measure(("min(phonemeter_sink_clickhouse_up)", "ClickHouse")),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "Disk of the embedded engine",
        "Free, and in all. A server has metrics of its own.",
        measure(
            ("min(phonemeter_engine_disk_free_bytes)", page.t("Free space")),
            ("max(phonemeter_engine_disk_size_bytes)", page.t("In all")),
        ),
        unit=BYTES,
        width=8,
        height=6,
    )
    page.series(
        "Connections of the embedded engine",
        "Clients that are connected now.",
        measure(("sum(phonemeter_engine_connections)", page.t("Connections"))),
        unit=NUMBER,
        width=8,
        height=6,
    )


def audit(page: Page) -> None:
    """Findings of the audit, and their age."""
    page.row("Audit")
    page.series(
        "Drift",
        "Entries in which a place differs from what the rules say of the log; anything above 0 is to be"
        " explained.",
        measure(("sum by (place) (phonemeter_audit_drift_entries)", "{{place}}")),
        unit=NUMBER,
        width=8,
        height=6,
        steps=any_is_bad(),
    )
    page.series(
        "Drift in calls and money",
        "Calls and yuan that are charged too many or too few, added up without cancelling.",
        measure(
            ("sum(phonemeter_audit_drift_calls)", page.t("Calls")),
            ("sum(phonemeter_audit_drift_micro_yuan) / 1e6", page.t("Yuan")),
        ),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "Since the last clean audit",
        "The audit meters the whole log again and compares.",
        measure(
            ("time() - (max(phonemeter_audit_last_clean_timestamp_seconds) > 0)", page.t("Clean")),
            ("time() - (max(phonemeter_audit_last_timestamp_seconds) > 0)", page.t("Any")),
        ),
        unit=SECONDS,
        width=8,
        height=6,
    )
