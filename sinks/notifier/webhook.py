"""Webhooks by the Standard Webhooks specification: body, signatures, and the outcome by the answer."""

from collections.abc import Sequence
from datetime import UTC
from http import HTTPStatus
from typing import Any, Final

import msgspec
from standardwebhooks.webhooks import Webhook

from metering.alert_severity import severity_of
from metering.alerts import Alert
from metering.times import from_ms
from sinks.notifier.http import Answer, UnreachableError, post, retry_after_ms
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.routes import App, Route
from sinks.notifier.wording import text_of

RAISED: Final = "phone.alert.raised"
RECOVERED: Final = "phone.alert.recovered"
DIGEST: Final = "phone.alerts.digest"
TEST: Final = "phone.alert.test"


def body_of(alerts: Sequence[Alert], apps: Sequence[App], route: Route, *, held: bool) -> bytes:
    """The body of a message, the same bytes in every attempt."""
    described = [_described(alert, app, route) for alert, app in zip(alerts, apps, strict=True)]
    if held:
        kind, data = DIGEST, {"alerts": described}
    else:
        kind = TEST if alerts[0].reason == "test" else RECOVERED if alerts[0].kind == "recovery" else RAISED
        data = described[0]
    return msgspec.json.encode({"type": kind, "timestamp": max(one.time for one in alerts), "data": data})


def signed_headers(message: str, body: bytes, secrets: Sequence[str], now_ms: int) -> dict[str, str]:
    """The headers of an attempt, with one signature per secret."""
    moment = from_ms(now_ms).astimezone(UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(msg_id=message, timestamp=moment, data=text) for secret in secrets]
    headers = {"webhook-id": message, "webhook-timestamp": str(now_ms // 1_000)}
    return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers


def send(route: Route, message: str, body: bytes, timeout_s: float, now_ms: int) -> AttemptOutcome:
    """Make one attempt."""
    try:
        answer = post(route.address, body, signed_headers(message, body, route.secrets, now_ms), timeout_s)
    except UnreachableError as error:
        return AttemptOutcome(delivered=False, reason=str(error))
    return outcome_of(answer, now_ms)


def outcome_of(answer: Answer, now_ms: int) -> AttemptOutcome:
    """The outcome by an answer: 2xx is a delivery, 410 disables the route, anything else is a failure."""
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return AttemptOutcome(delivered=True, reason=f"answered {answer.status}")
    reason = f"answered {answer.status}"
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        reason = f"answered {answer.status}; redirects are not followed: put the new address into the file"
    return AttemptOutcome(
        delivered=False,
        reason=reason,
        retry_after_ms=retry_after_ms(answer.retry_after, now_ms),
        gone=answer.status == HTTPStatus.GONE,
    )


def _described(alert: Alert, app: App, route: Route) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(alert),
        "app_name": app.name,
        "severity": severity_of(alert),
        "text": text_of(alert, app, route.language).text(),
    }
