"""The service `phonemeter gateway`: takes events over HTTP until stopped."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry

from http_service.own_pages import own_pages
from http_service.service_run import Site, serve_until_stopped
from metering.http_endpoints import HoldEnder, HttpPart
from producers.gateway.api_keys import KeySource
from producers.gateway.application import public_site
from producers.gateway.events_endpoint import EventsEndpoint, RequestLimits
from producers.gateway.guard import Guard
from producers.gateway.health import Health
from producers.gateway.key_ring import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.publisher import RequestPublisher
from producers.gateway.rate_limits import RateLimits
from producers.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

END_S: Final = 2.0
"""Time for events of requests that were given up."""


def run(
    settings: GatewaySettings,
    keys: KeySource,
    parts: Sequence[HttpPart] = (),
    registry: CollectorRegistry | None = None,
    *,
    holds: HoldEnder | None = None,
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: of the service.
        keys: where the API keys are.
        parts: more of the interface, served beside the events.
        registry: of metrics, with those of the parts.
        holds: where events end holds.

    Raises:
        ServicePortError: a port can't be opened.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, keys, parts, Metrics(registry), holds))
    log.info("The gateway has ended.")


async def _run(
    settings: GatewaySettings,
    keys: KeySource,
    parts: Sequence[HttpPart],
    metrics: Metrics,
    holds: HoldEnder | None,
) -> None:
    ring = KeyRing(keys, settings.gateway_keys_interval_s)
    publisher = RequestPublisher(settings, settings.gateway_answer_s)
    health = Health(
        lambda: tuple(filter(None, (ring.trouble, publisher.trouble))),
        lambda: ring.has_read and publisher.has_connected,
        lambda: publisher.cluster,
        lambda: tuple(one for part in parts for one in part.troubles()),
    )
    metrics.judge_by(health.verdict)
    metrics.keys.set_function(lambda: len(ring))
    limits = RequestLimits(settings.gateway_receive_s, settings.gateway_requests_max)
    rates = RateLimits(settings.gateway_events_per_s)
    endpoint = EventsEndpoint(ring, publisher, rates, limits, metrics, holds=holds)
    origins = [one for one in settings.gateway_cors_origins.split(",") if one]
    public = public_site(
        endpoint,
        metrics,
        origins,
        Guard(ring, rates),
        logged=settings.gateway_access_log,
        parts=parts,
    )
    own = own_pages(metrics.registry, health.verdict)
    try:
        await serve_until_stopped(
            (
                Site(
                    own,
                    settings.listen_host,
                    settings.gateway_metrics_port,
                    "PHONEMETER_GATEWAY_METRICS_PORT",
                ),
                Site(
                    public.web,
                    settings.gateway_host,
                    settings.gateway_port,
                    "PHONEMETER_GATEWAY_PORT",
                    public.direct,
                ),
            ),
            (ring.run, publisher.run, *(part.run for part in parts)),
            head_s=settings.gateway_receive_s,
            log=log,
            begun=f"Events are taken on http://{settings.gateway_host}:{settings.gateway_port}/v1/events.",
        )
    finally:
        await publisher.close(END_S)
