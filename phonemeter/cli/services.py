"""`phonemeter worker`, `sink` and the other services: one process each, until SIGTERM.

What only one of them needs is imported by it, so that each starts without what the others need.
"""

from functools import partial
from importlib import import_module

import typer
from prometheus_client import CollectorRegistry

from phonemeter import log_lines
from phonemeter.errors import UserError
from phonemeter.settings import load
from phonemeter.stack.directory import StackDirectory, private_files


def worker() -> None:
    """Run the stream worker: it takes each event from the pack that WeChat would take it from.

    The same as `faust -A streams.app worker`, but with all of phonemeter's settings.
    """
    settings = load()
    _check_port(settings.listen_host, settings.worker_port)
    # Faust configures the log by itself.
    in_json = settings.log_format == "json"
    import_module("streams.app").run(
        settings, logging_config=log_lines.configuration("json", "worker") if in_json else None
    )


def sink() -> None:
    """Run the sink: it stores the ledger of Kafka in ClickHouse, every entry exactly once."""
    settings = load()
    log_lines.configure(settings.log_format, "sink")
    import_module("sinks.service").run(settings, views=import_module("dashboards.views").statements())


def settler() -> None:
    """Run the settler: it brings apps whose facts arrived late to the figures of their order in time.

    It reads an app's facts from ClickHouse, decides them again, and publishes what has to be moved.
    """
    settings = load()
    log_lines.configure(settings.log_format, "settler")
    rules = import_module("phonemeter.recorded_rules").RecordedRules(settings)
    import_module("sinks.settler.service").run(settings, rules)


def notifier() -> None:
    """Run the notifier: it delivers each alert to its routes, once per route.

    The setting alert_routes names the routes file. Owners set up recipients in the console besides, unless
    console_recipients is false. Without any, alerts are read and not delivered.
    """
    settings = load()
    log_lines.configure(settings.log_format, "notifier")
    service = import_module("sinks.notifier.service")
    if not settings.console_recipients:
        service.run(settings)
        return
    with import_module("phonemeter.business.database").BusinessDatabase(settings.business_url) as database:
        reader = import_module("phonemeter.business.recipient_routes").RecipientRouteReader
        service.run(settings, read_recipients=reader(database, settings.alert_mail))


def wechat() -> None:
    """Run the service for WeChat: it reads what WeChat counts and sells, and receives what it pushes.

    The setting wechat_apps names the file that says which apps.
    """
    settings = load()
    log_lines.configure(settings.log_format, "wechat")
    packs = import_module("phonemeter.ledger_packs").LedgerPackReader(settings.clickhouse)
    cluster_of = partial(import_module("phonemeter.kafka_admin").cluster_id, settings.kafka_access)
    import_module("producers.wechat.service").run(settings, packs, cluster_of)


def gateway() -> None:
    """Run the HTTP gateway: it takes events, and answers what became of them and who goes to WeChat.

    Who may send is in the business database: `phonemeter keys issue`.
    """
    settings = load()
    log_lines.configure(settings.log_format, "gateway")
    with import_module("phonemeter.business.database").BusinessDatabase(settings.business_url) as database:
        keys = import_module("phonemeter.business.keys").KeyStore(database)
        holds = import_module("phonemeter.business.holds").HoldStore(database)
        registry = CollectorRegistry()
        routing = import_module("sinks.balances.service").routing_part(
            settings, holds, settings.rules().billing_start_ms, registry
        )
        # Paths are compared in this order, and decisions are asked most often.
        parts = (routing, import_module("phonemeter.reads.wiring").reads_part(settings, registry))
        import_module("producers.gateway.service").run(settings, keys, parts, registry, holds=routing)


def console() -> None:
    """Run the console: pages for owners of apps. It shows what their members may see.

    Who signs in is in the business database: `phonemeter owners add`, `phonemeter members add`.
    """
    settings = load()
    log_lines.configure(settings.log_format, "console")
    with import_module("phonemeter.business.database").BusinessDatabase(settings.business_url) as database:
        registry = CollectorRegistry()
        wechat_pay = import_module("dashboards.wechat_pay.part").configured(settings, registry)
        records = import_module("phonemeter.business.console_records").console_records(
            database, settings, [one.provider for one in wechat_pay]
        )
        outbox = import_module("phonemeter.business.outbox").Outbox(database)
        publisher = import_module("phonemeter.business.outbox_publisher")
        causes = import_module("phonemeter.agreement.console_causes").AgreementCauses(
            settings.reads_clickhouse or settings.clickhouse
        )
        figures = import_module("phonemeter.reads.wiring").figure_pages(settings, records, causes)
        parts = [
            figures,
            import_module("dashboards.console.order_part").OrderPart(records.orders, figures.reads),
            import_module("phonemeter.reads.console_wiring").setting_pages(settings, records.facts, database),
            publisher.OutboxPublisher(outbox, settings, registry),
            import_module("dashboards.console.payment_watch").PaymentWatch(records.orders),
            *wechat_pay,
        ]
        endpoints = [one.endpoint(records.orders) for one in wechat_pay]
        import_module("dashboards.console.service").run(settings, records, parts, registry, endpoints)


def wechat_sim() -> None:
    """Run the stand-in for WeChat on loopback, with two apps of its own, for trying things out.

    It speaks WeChat's wire formats, and `/sim/...` changes what it says (docs/how-to/wechat.md).
    """
    settings = load()
    log_lines.configure(settings.log_format, "wechat-sim")
    import_module("producers.wechat_sim.service").run(
        StackDirectory(settings.data_dir).of("wechat-sim"),
        settings.wechat_sim_port,
        settings.wechat_push_port,
    )


def engine() -> None:
    """Run the embedded ClickHouse on loopback: native protocol and HTTP, with one data directory.

    It is the real engine in one process, for one machine; with a ClickHouse server it is not needed.
    """
    settings = load()
    config = import_module("phonemeter.engine.config")
    server = import_module("phonemeter.engine.server")
    data = StackDirectory(settings.data_dir).of("engine") / "data"
    with private_files():
        status = server.serve(
            config.EngineConfig(
                data,
                "127.0.0.1",
                settings.engine_native_port,
                settings.engine_http_port,
                settings.engine_password,
            )
        )
    raise typer.Exit(status)


def _check_port(host: str, port: int) -> None:
    """Report in a sentence that the worker's port is taken; Faust reports it in a stack trace."""
    try:
        with import_module("phonemeter.stack.ports").listening(host, port):
            pass
    except OSError as error:
        raise UserError(
            f"Port {port} for the worker's health and metrics cannot be opened on {host} ({error.strerror}): "
            "free it, or set PHONEMETER_WORKER_PORT (worker_port in phonemeter.toml) to a free port."
        ) from None
