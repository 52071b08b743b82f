"""Metrics of payments by WeChat Pay, in the console's registry: every name in one place with its meaning."""

from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

MetricName = Literal[
    # Counter by endpoint and outcome: requests to WeChat Pay that were answered (ok), or not as asked: no
    # answer (unreachable), to be tried again (busy), an answer that WeChat Pay has not signed (untrusted),
    # another refusal (refused).
    "phonemeter_console_wechat_pay_requests_total",
    # Histogram by endpoint: seconds per request.
    "phonemeter_console_wechat_pay_request_seconds",
    # Counter by outcome: notices of payments that were stored (accepted, repeated, wrong_amount, order_ended,
    # paid_twice), of refunds (refund), about something else (ignored), that could not be stored (failed), or
    # that were refused, by the fault.
    "phonemeter_console_wechat_pay_notices_total",
]

PAY_REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WechatPayMetrics:
    """The metrics of payments by WeChat Pay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name: MetricName = "phonemeter_console_wechat_pay_requests_total"
        self.requests = Counter(name, "Requests to WeChat Pay", ("endpoint", "outcome"), registry=registry)
        name = "phonemeter_console_wechat_pay_request_seconds"
        self.request_seconds = Histogram(
            name, "Seconds per request", ("endpoint",), registry=registry, buckets=PAY_REQUEST_SECONDS
        )
        name = "phonemeter_console_wechat_pay_notices_total"
        self.notices = Counter(name, "Notices of WeChat Pay", ("outcome",), registry=registry)
