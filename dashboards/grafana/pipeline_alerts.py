"""Panels on the delivery of alerts: attempts, waiting deliveries, outcomes per route."""

from dashboards.grafana.panels import (
    NUMBER,
    SECONDS,
    TEXT,
    TIME,
    Page,
    ResultColumn,
    any_is_bad,
    ask,
    from_steps,
)
from dashboards.grafana.prometheus import lately, measure, measure_now, quantile


def alerts(page: Page) -> None:
    """The notifier's attempts, what waits for it, and its routes."""
    page.row("Alerts to people")
    page.series(
        "Deliveries",
        "Attempts by channel and outcome.",
        measure(
            (lately("phonemeter_notifier_attempts_total", "channel", "outcome"), "{{channel}} {{outcome}}")
        ),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "Waiting",
        "Alerts on their way, held ones included, and those that were given up on and that nobody has"
        " acknowledged.",
        measure(
            ("sum(phonemeter_notifier_open)", page.t("On their way")),
            ("sum(phonemeter_notifier_dead)", page.t("Given up")),
            ("sum(phonemeter_notifier_recipients_dead)", page.t("Given up, to recipients of owners")),
            ("sum(phonemeter_notifier_awaiting_recipients)", page.t("Held for unread recipients")),
        ),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "Oldest alert that waits",
        "Held by quiet hours not counted.",
        measure(("max(phonemeter_notifier_oldest_waiting_seconds)", page.t("Age"))),
        unit=SECONDS,
        width=8,
        height=6,
    )
    _notifier_at_work(page)
    _routes(page)


def _notifier_at_work(page: Page) -> None:
    page.series(
        "Alerts read",
        "By what became of them: on to a route (routed), wanted by none (unrouted), published too long"
        " ago (too_old), known already (repeated), no alerts at all (unreadable).",
        measure((lately("phonemeter_notifier_alerts_total", "outcome"), "{{outcome}}")),
        unit=NUMBER,
        width=8,
        height=6,
        stacked=True,
    )
    page.series(
        "Time per attempt, 95 %",
        "By channel, from its beginning to the receiver's answer. One that takes too long is ended, and"
        " has failed.",
        measure((quantile(0.95, "phonemeter_notifier_attempt_seconds", "channel"), "{{channel}}")),
        unit=SECONDS,
        width=8,
        height=6,
    )
    page.series(
        "Records not read yet",
        "By the notifier, of each topic; and by the sink, of what it tells ClickHouse about deliveries.",
        measure(
            ("sum by (topic) (phonemeter_notifier_lag_records)", "{{topic}}"),
            ("max(phonemeter_sink_delivery_lag_records)", page.t("Sink")),
        ),
        unit=NUMBER,
        width=8,
        height=6,
    )


def _routes(page: Page) -> None:
    for title, about, expr, steps in (
        (
            "Routes in effect",
            (
                "Those of the file as the notifier took it last, and recipients that owners have set up. 0:"
                " alerts are read and go to nobody."
            ),
            "max(phonemeter_notifier_routes) + max(phonemeter_notifier_recipients)",
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
        page.stat(title, about, measure_now(expr, page.t(title)), unit=NUMBER, steps=steps, width=8)
    page.table(
        "Deliveries by route",
        "Alerts that the notifier saw in the time range, by what became of them on each route. An alert"
        " that no route wanted is in none of the rows.",
        ask("pipeline_deliveries"),
        width=24,
        height=6,
        columns=(
            ResultColumn("route", "Route", unit=TEXT),
            ResultColumn("delivered", "Delivered"),
            ResultColumn("underway", "On its way", steps=from_steps("text", (1, "orange"))),
            ResultColumn("oldest", "Oldest on its way", unit=TIME),
            ResultColumn("held", "Held"),
            ResultColumn("dead", "Given up", steps=from_steps("text", (1, "red"))),
            ResultColumn("acknowledged", "Acknowledged"),
            ResultColumn("attempts_at_most", "Attempts at most"),
            ResultColumn("newest", "Newest", unit=TIME),
        ),
    )
