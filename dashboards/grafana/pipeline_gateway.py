"""Panels on the HTTP gateway: requests, events, time per request, health."""

from dashboards.grafana.panels import A_SECOND, NUMBER, SECONDS, Page
from dashboards.grafana.prometheus import measure, quantile, rate_by


def gateway(page: Page) -> None:
    """Requests of clients over HTTP, and their answers."""
    page.row("Events over HTTP")
    page.series(
        "Requests by answer",
        "Requests to the gateways a second: ok, or the name of the problem that they were answered with.",
        measure((rate_by("phonemeter_gateway_requests_total", "answer"), "{{answer}}")),
        unit=A_SECOND,
        width=8,
        stacked=True,
    )
    page.series(
        "Events by outcome",
        "A second. Unconfirmed ones have to be sent again; what was accepted is in Kafka.",
        measure((rate_by("phonemeter_gateway_events_total", "outcome"), "{{outcome}}")),
        unit=A_SECOND,
        width=8,
        stacked=True,
    )
    page.series(
        "Time per request",
        "From the head of a request for events to its answer, Kafka's confirmation included.",
        measure(
            *(
                (quantile(share, "phonemeter_gateway_request_seconds"), legend)
                for share, legend in ((0.5, "50 %"), (0.99, "99 %"))
            )
        ),
        unit=SECONDS,
        width=8,
    )
    page.series(
        "Requests under way",
        "Requests for events that are worked on now; beyond gateway_requests_max they are refused.",
        measure(("sum(phonemeter_gateway_requests_open)", page.t("Requests"))),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "The gateway's promises",
        "1 while it holds: it has started, Kafka takes its events, and the API keys can be read.",
        measure(("min by (promise) (phonemeter_gateway_healthy)", "{{promise}}")),
        unit=NUMBER,
        width=8,
        height=6,
    )
    page.series(
        "API keys",
        "Keys that are valid, as the gateways read them last.",
        measure(("max(phonemeter_gateway_keys)", page.t("API keys"))),
        unit=NUMBER,
        width=8,
        height=6,
    )
