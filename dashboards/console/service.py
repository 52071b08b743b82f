"""The service `phonemeter console`: shows the console until stopped."""

import asyncio
import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import uvloop
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from dashboards.console.application import application
from dashboards.console.buying_guide import GuideStore
from dashboards.console.facts import FactDesk
from dashboards.console.health import Health
from dashboards.console.invoices import InvoiceDesk, TitleDesk
from dashboards.console.key_desk import KeyDesk
from dashboards.console.members import MemberStore
from dashboards.console.metrics import Metrics
from dashboards.console.order_desk import OrderDesk
from dashboards.console.page_guard import ConsolePage, ConsolePart
from dashboards.console.pages.account import AccountPages
from dashboards.console.pages.activity import ActivityPage
from dashboards.console.pages.api_keys import ApiKeyPages
from dashboards.console.pages.invoice_titles import TitlePages
from dashboards.console.pages.invoices import InvoicePages
from dashboards.console.pages.members import MemberPages
from dashboards.console.pages.preferences import preference_pages
from dashboards.console.pages.sign_in import SignInPages
from dashboards.console.passwords import Passwords
from dashboards.console.sessions import SessionStore
from dashboards.console.settings import ConsoleSettings
from dashboards.console.sign_in_limits import SignInLimits
from http_service.own_pages import own_pages
from http_service.service_run import Site, serve_until_stopped

log = logging.getLogger(__name__)

HEAD_S: Final = 10.0
"""Time that a browser may take to send the head of a request."""


class Records(NamedTuple):
    """The stores of the business database that the console works on, and what works on them."""

    sessions: SessionStore
    members: MemberStore
    keys: KeyDesk
    facts: FactDesk
    orders: OrderDesk
    guide: GuideStore
    invoices: InvoiceDesk
    titles: TitleDesk


def all_pages(
    settings: ConsoleSettings,
    records: Records,
    metrics: Metrics,
    passwords: Passwords,
    parts: Sequence[ConsolePart] = (),
) -> list[ConsolePage]:
    """Every page, in the order of the navigation: those of the parts first."""
    over_tls = settings.console_origin.startswith("https:")
    sign_in = SignInPages(settings, records.sessions, passwords, SignInLimits(), metrics)
    return [
        *(page for part in parts for page in part.pages),
        *TitlePages(records.titles).pages,
        *InvoicePages(records.invoices, records.titles).pages,
        *ApiKeyPages(records.keys).pages,
        *MemberPages(records.members, settings).pages,
        *ActivityPage(records.members).pages,
        *AccountPages(records.sessions, passwords, sign_in).pages,
        *sign_in.pages,
        *_company_pages(settings, records.sessions, sign_in, metrics),
        *preference_pages(over_tls=over_tls),
    ]


def _company_pages(
    settings: ConsoleSettings, sessions: SessionStore, sign_in: SignInPages, metrics: Metrics
) -> Sequence[ConsolePage]:
    if not settings.console_oidc_issuer:
        return ()
    # Its libraries take half a second to load, and most consoles do without.
    company = import_module("dashboards.console.pages.company_sign_in")
    pages: Sequence[ConsolePage] = company.company_pages(settings, sessions, sign_in, metrics)
    return pages


def run(
    settings: ConsoleSettings,
    records: Records,
    parts: Sequence[ConsolePart] = (),
    registry: CollectorRegistry | None = None,
    endpoints: Sequence[Route] = (),
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: of the service.
        records: the stores.
        parts: pages that need more than the stores.
        registry: of metrics, with those of the parts.
        endpoints: for programs, which have no session.

    Raises:
        ServicePortError: a port can't be opened.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, records, parts, Metrics(registry), endpoints))
    log.info("The console has ended.")


async def _run(
    settings: ConsoleSettings,
    records: Records,
    parts: Sequence[ConsolePart],
    metrics: Metrics,
    endpoints: Sequence[Route],
) -> None:
    health = Health(records.sessions, lambda: [one for part in parts for one in part.troubles()])
    metrics.judge_by(health.verdict)
    pages = all_pages(settings, records, metrics, Passwords(), parts)
    web = application(settings, records.sessions, metrics, pages, endpoints)
    own = own_pages(metrics.registry, health.verdict)
    await serve_until_stopped(
        (
            Site(own, settings.listen_host, settings.console_metrics_port, "PHONEMETER_CONSOLE_METRICS_PORT"),
            Site(web, settings.console_host, settings.console_port, "PHONEMETER_CONSOLE_PORT"),
        ),
        (health.run, *(part.run for part in parts)),
        head_s=HEAD_S,
        log=log,
        begun=f"The console is on http://{settings.console_host}:{settings.console_port}.",
    )
