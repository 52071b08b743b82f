"""Pipeline health: how much goes through, how far behind it is, what was refused, whether it is right."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.page import row, start
from dashboards.grafana.panels import (
    Column,
    any_is_bad,
    ask,
    from_steps,
    measure,
    measure_now,
    series_panel,
    stat_panel,
    table_panel,
)
from dashboards.grafana.words import Words


def build(t: Words) -> Dashboard:
    """The page."""
    about = (
        "From Kafka to ClickHouse and to people: throughput, lag, freshness, what was refused or retried, and"
        " whether the ledger is right."
    )
    board = start(t, "pipeline", about, since="now-6h")
    _figures(t, board)
    _throughput(t, board)
    _lag(t, board)
    _batches(t, board)
    _refused(t, board)
    _recovery(t, board)
    _stores(t, board)
    _audit(t, board)
    _notifier(t, board)
    return board


def _p(share: float, histogram: str) -> str:
    """A quantile of a histogram, over what happened lately."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket[$__rate_interval])))"


def _rate(counter: str, by: str) -> str:
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


def _lately(counter: str) -> str:
    """By how much a counter went up, from point to point."""
    return f"sum(increase({counter}[$__rate_interval]))"


def _figures(t: Words, board: Dashboard) -> None:
    for title, about, expr, unit, steps in (
        (
            "Services down",
            "Targets of Prometheus that do not answer. Events wait in Kafka meanwhile; nothing is lost.",
            "count(up == 0) or vector(0)",
            t.count,
            any_is_bad(),
        ),
        (
            "Lag",
            "Age of the oldest event that the worker has not metered yet.",
            "max(phonemeter_worker_lag_seconds)",
            "s",
            from_steps("green", (30, "orange"), (300, "red")),
        ),
        (
            "Freshness, 99 %",
            "From an event's arrival at Kafka to its line in ClickHouse.",
            _p(0.99, "phonemeter_sink_freshness_seconds"),
            "s",
            from_steps("green", (10, "orange"), (60, "red")),
        ),
        (
            "Stopped partitions",
            (
                "Partitions of the ledger that stand at a record that cannot be stored. It takes a person:"
                " see the sink's log."
            ),
            "sum(phonemeter_sink_stopped)",
            t.count,
            from_steps("green", (1, "dark-red")),
        ),
        (
            "Lines that differ",
            (
                "What the last audit found: lines in which the ledger or ClickHouse differs from the rules. 0"
                " is the truth."
            ),
            "sum(phonemeter_audit_drift_entries)",
            t.count,
            from_steps("green", (1, "dark-red")),
        ),
        (
            "Alerts undelivered",
            "Alerts that were given up on after a day of attempts. See: phonemeter alerts list.",
            "sum(phonemeter_notifier_dead)",
            t.count,
            any_is_bad(),
        ),
    ):
        board.with_panel(
            stat_panel(t, title, about, measure_now(expr, t(title)), unit=unit, steps=steps, width=4)
        )


def _throughput(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Throughput"))
    board.with_panel(
        series_panel(
            t,
            "Events metered",
            "Records of phone-events a second, by partition.",
            measure((_rate("phonemeter_worker_records_total", "partition"), "{{partition}}")),
            unit="suffix: /s",
            width=8,
            stacked=True,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Ledger entries",
            "Entries published a second, by what they record.",
            measure((_rate("phonemeter_worker_ledger_entries_total", "kind"), "{{kind}}")),
            unit="suffix: /s",
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Lines stored",
            "Lines of the ledger that ClickHouse acknowledged, a second, and INSERTs a second.",
            measure(
                ("sum(rate(phonemeter_sink_rows_inserted_total[$__rate_interval]))", t("Lines")),
                ("sum(rate(phonemeter_sink_inserts_total[$__rate_interval]))", "INSERT"),
            ),
            unit="suffix: /s",
            width=8,
        )
    )


def _lag(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Lag and freshness"))
    board.with_panel(
        series_panel(
            t,
            "Lag in records",
            "Events that are not metered yet, and ledger records that are not in ClickHouse yet.",
            measure(
                ("sum(phonemeter_worker_lag_records)", t("Worker")),
                ("sum(phonemeter_sink_lag_records)", t("Sink")),
            ),
            unit=t.count,
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Lag in seconds",
            "Age of the oldest record that still waits, of the partition that is furthest behind.",
            measure(
                ("max(phonemeter_worker_lag_seconds)", t("Worker")),
                ("max(phonemeter_sink_lag_seconds)", t("Sink")),
            ),
            unit="s",
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Freshness, end to end",
            "From an event's arrival at Kafka to the acknowledgement of its line by ClickHouse.",
            measure(
                (_p(0.5, "phonemeter_sink_freshness_seconds"), "50 %"),
                (_p(0.99, "phonemeter_sink_freshness_seconds"), "99 %"),
                ("max(phonemeter_sink_newest_line_age_seconds)", t("Age of the newest line")),
            ),
            unit="s",
            width=8,
        )
    )


def _batches(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Batches"))
    board.with_panel(
        series_panel(
            t,
            "Batch sizes",
            "Records in a batch of the worker and lines in an INSERT of the sink; half of them are smaller.",
            measure(
                (_p(0.5, "phonemeter_worker_batch_records"), t("Worker")),
                (_p(0.5, "phonemeter_sink_batch_rows"), t("Sink")),
            ),
            unit=t.count,
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Time per batch, 95 %",
            "The worker: from a batch's delivery to the acknowledgement of its state. The sink: one INSERT.",
            measure(
                (_p(0.95, "phonemeter_worker_batch_seconds"), t("Worker")),
                (_p(0.95, "phonemeter_sink_insert_seconds"), t("Sink")),
                (_p(0.95, "phonemeter_worker_commit_seconds"), t("Commit of offsets")),
            ),
            unit="s",
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Event loop of the worker, 99 %",
            "How late the loop gets to what is due. Much of it: the worker is at its limit.",
            measure((_p(0.99, "phonemeter_worker_event_loop_lag_seconds"), t("Worker"))),
            unit="s",
            width=8,
        )
    )


def _refused(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Refused, repeated, not covered"))
    board.with_panel(
        series_panel(
            t,
            "Dead letters",
            "Records that are no events, by reason. They are kept whole: phonemeter dead-letters list.",
            measure(
                (
                    "sum by (reason) (increase(phonemeter_worker_dead_letters_total[$__rate_interval]))",
                    "{{reason}}",
                )
            ),
            unit=t.count,
            width=8,
            stacked=True,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Repeated",
            "Duplicates: events whose id was there before. Skipped, left out: delivered again after a"
            " restart, and known.",
            measure(
                (_lately('phonemeter_worker_ledger_entries_total{kind="duplicate"}'), t("Duplicates")),
                (_lately("phonemeter_worker_skipped_records_total"), t("Skipped by the worker")),
                (_lately("phonemeter_sink_duplicate_rows_total"), t("Left out by the sink")),
            ),
            unit=t.count,
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Uncovered calls",
            "As they are metered, by reason.",
            measure(
                (
                    "sum by (reason) (increase(phonemeter_worker_uncovered_calls_total[$__rate_interval]))",
                    "{{reason}}",
                )
            ),
            unit=t.calls,
            width=8,
            stacked=True,
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Dead letters in the ledger",
            "By reason, in the time range.",
            ask("pipeline_rejections"),
            width=10,
            height=6,
            columns=(
                Column("reason", "Reason"),
                Column("records", "Records"),
                Column("newest", "Newest", unit="dateTimeAsIso"),
            ),
        )
    )
    board.with_panel(
        table_panel(
            t,
            "Back ends",
            "Who sends what, in the time range; many duplicates: a client that repeats without need.",
            ask("pipeline_sources"),
            width=14,
            height=6,
            columns=(
                Column("source", "Source"),
                Column("events", "Events"),
                Column("duplicates", "Duplicates"),
                Column(
                    "duplicates_percent",
                    "Duplicates, share",
                    unit="percent",
                    steps=from_steps("text", (5, "orange")),
                ),
                Column("newest", "Newest", unit="dateTimeAsIso"),
            ),
        )
    )


def _recovery(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Retries and recovery"))
    board.with_panel(
        series_panel(
            t,
            "Retries",
            "How often the worker waited for Kafka longer than it should, and the sink's failed attempts to"
            " reach or write ClickHouse, which are repeated.",
            measure(
                (_lately("phonemeter_worker_kafka_waits_total"), t("Worker")),
                (_lately("phonemeter_sink_insert_errors_total"), t("Sink")),
            ),
            unit=t.count,
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Restores and rebalances",
            "Services that began anew, state read back from Kafka, and partitions that moved.",
            measure(
                ("sum(changes(process_start_time_seconds[$__rate_interval]))", t("Restarts")),
                (_lately("phonemeter_worker_restores_total"), t("State restored")),
                (_lately("phonemeter_worker_rebalances_total"), t("Rebalances of the worker")),
                (_lately("phonemeter_sink_rebalances_total"), t("Rebalances of the sink")),
            ),
            unit=t.count,
            width=8,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Read again",
            "Deliveries that left records out and were asked for again, and partitions that ClickHouse had"
            " lost lines of.",
            measure(
                (_lately("phonemeter_worker_seeks_back_total"), t("Worker")),
                (_lately("phonemeter_sink_seeks_back_total"), t("Sink")),
                (_lately("phonemeter_sink_rewinds_total"), t("Sink: from the beginning")),
            ),
            unit=t.count,
            width=8,
        )
    )


def _stores(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "ClickHouse"))
    board.with_panel(
        series_panel(
            t,
            "ClickHouse answers",
            "1 while it answers the sink, 0 while it is tried again.",
            measure(("min(phonemeter_sink_clickhouse_up)", "ClickHouse")),
            unit=t.count,
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Disk of the embedded engine",
            "Free, and in all. A server has metrics of its own.",
            measure(
                ("min(phonemeter_engine_disk_free_bytes)", t("Free space")),
                ("max(phonemeter_engine_disk_size_bytes)", t("In all")),
            ),
            unit="bytes",
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Connections of the embedded engine",
            "Clients that are connected now.",
            measure(("sum(phonemeter_engine_connections)", t("Connections"))),
            unit=t.count,
            width=8,
            height=6,
        )
    )


def _audit(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Audit"))
    board.with_panel(
        series_panel(
            t,
            "Drift",
            "Lines in which a place differs from what the rules say of the log; anything above 0 is to be"
            " explained.",
            measure(("sum by (place) (phonemeter_audit_drift_entries)", "{{place}}")),
            unit=t.count,
            width=8,
            height=6,
            steps=any_is_bad(),
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Drift in calls and money",
            "Calls and yuan that are charged too many or too few, added up without cancelling.",
            measure(
                ("sum(phonemeter_audit_drift_calls)", t("Calls")),
                ("sum(phonemeter_audit_drift_micro_yuan) / 1e6", t("Yuan")),
            ),
            unit=t.count,
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Since the last clean audit",
            "The audit meters the whole log again and compares.",
            measure(
                ("time() - (max(phonemeter_audit_last_clean_timestamp_seconds) > 0)", t("Clean")),
                ("time() - (max(phonemeter_audit_last_timestamp_seconds) > 0)", t("Any")),
            ),
            unit="s",
            width=8,
            height=6,
        )
    )


def _notifier(t: Words, board: Dashboard) -> None:
    board.with_row(row(t, "Alerts to people"))
    board.with_panel(
        series_panel(
            t,
            "Deliveries",
            "Attempts by channel and outcome.",
            measure(
                (
                    (
                        "sum by (channel, outcome)"
                        " (increase(phonemeter_notifier_attempts_total[$__rate_interval]))"
                    ),
                    "{{channel}} {{outcome}}",
                )
            ),
            unit=t.count,
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Waiting",
            "Alerts on their way, held ones included, and those that were given up on and that nobody has"
            " acknowledged.",
            measure(
                ("sum(phonemeter_notifier_open)", t("On their way")),
                ("sum(phonemeter_notifier_dead)", t("Given up")),
            ),
            unit=t.count,
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Oldest alert that waits",
            "Held by quiet hours not counted.",
            measure(("max(phonemeter_notifier_oldest_waiting_seconds)", t("Age"))),
            unit="s",
            width=8,
            height=6,
        )
    )
    _notifier_at_work(t, board)
    _routes(t, board)


def _notifier_at_work(t: Words, board: Dashboard) -> None:
    board.with_panel(
        series_panel(
            t,
            "Alerts read",
            "By what became of them: on to a route (routed), wanted by none (unrouted), published too long"
            " ago (too_old), known already (repeated), no alerts at all (unreadable).",
            measure(
                (
                    "sum by (outcome) (increase(phonemeter_notifier_alerts_total[$__rate_interval]))",
                    "{{outcome}}",
                )
            ),
            unit=t.count,
            width=8,
            height=6,
            stacked=True,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Time per attempt, 95 %",
            "By channel, from its beginning to the receiver's answer. One that takes too long is ended, and"
            " has failed.",
            measure(
                (
                    (
                        "histogram_quantile(0.95, sum by (channel, le)"
                        " (rate(phonemeter_notifier_attempt_seconds_bucket[$__rate_interval])))"
                    ),
                    "{{channel}}",
                )
            ),
            unit="s",
            width=8,
            height=6,
        )
    )
    board.with_panel(
        series_panel(
            t,
            "Records not read yet",
            "By the notifier, of each topic; and by the sink, of what it tells ClickHouse about deliveries.",
            measure(
                ("sum by (topic) (phonemeter_notifier_lag_records)", "{{topic}}"),
                ("max(phonemeter_sink_delivery_lag_records)", t("Sink")),
            ),
            unit=t.count,
            width=8,
            height=6,
        )
    )


def _routes(t: Words, board: Dashboard) -> None:
    for title, about, expr, steps in (
        (
            "Routes in effect",
            "Those of the file as the notifier took it last. 0: alerts are read and go to nobody.",
            "max(phonemeter_notifier_routes)",
            from_steps("orange", (1, "green")),
        ),
        (
            "Disabled routes",
            (
                "Their receivers answered that they are gone for good. What is meant for them is given up,"
                " until: phonemeter alerts enable."
            ),
            "sum(phonemeter_notifier_disabled_routes)",
            any_is_bad(),
        ),
        (
            "File of routes refused",
            (
                "1 while the file has a mistake: the routes of before stay in effect. Which mistake:"
                " phonemeter alerts check."
            ),
            "max(phonemeter_notifier_routes_refused)",
            any_is_bad(),
        ),
    ):
        board.with_panel(
            stat_panel(t, title, about, measure_now(expr, t(title)), unit=t.count, steps=steps, width=8)
        )
    board.with_panel(
        table_panel(
            t,
            "Deliveries by route",
            "Alerts that the notifier saw in the time range, by what became of them on each route. An alert"
            " that no route wanted is in none of the rows.",
            ask("pipeline_deliveries"),
            width=24,
            height=6,
            columns=(
                Column("route", "Route"),
                Column("delivered", "Delivered"),
                Column("underway", "On its way", steps=from_steps("text", (1, "orange"))),
                Column("oldest", "Oldest on its way", unit="dateTimeAsIso"),
                Column("held", "Held"),
                Column("dead", "Given up", steps=from_steps("text", (1, "red"))),
                Column("acknowledged", "Acknowledged"),
                Column("attempts_at_most", "Attempts at most"),
                Column("newest", "Newest", unit="dateTimeAsIso"),
            ),
        )
    )
