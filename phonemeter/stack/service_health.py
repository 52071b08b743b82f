"""The health that services report themselves, at `/healthz`."""

import http.client
import json
from typing import Any, Final

from metering.health import Problem, Service
from phonemeter.settings import Settings
from phonemeter.stack.probes import http_get

PATH: Final = "/healthz"


def ports(settings: Settings) -> dict[Service, int]:
    """The port at which each service serves its health, by these settings."""
    return {
        "worker": settings.worker_port,
        "sink": settings.sink_metrics_port,
        "settler": settings.settler_port,
        "notifier": settings.notifier_port,
        "audit": settings.audit_port,
        "wechat": settings.wechat_port,
        "gateway": settings.gateway_metrics_port,
        "console": settings.console_metrics_port,
    }


def ask(service: Service, port: int) -> dict[str, Any] | None:
    """The health that a service on this machine reports; None if it does not answer. Blocking."""
    try:
        _, text = http_get(port, PATH)
        told = json.loads(text)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return told if isinstance(told, dict) and told.get("service") == service else None


def problems(told: dict[str, Any]) -> list[Problem]:
    """The problems that a service reports."""
    return [Problem(one["promise"], one["sentence"], one.get("partition")) for one in told["problems"]]
