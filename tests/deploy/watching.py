"""Prometheus and Alertmanager as they are deployed, made quick and pointed at services on loopback."""

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast

import yaml

from tests.waiting import blocking_until, is_served
from tools.prometheus import program

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
FOR: Final = "2s"
EVERY: Final = "1s"
QUICK: Final = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}


@dataclass
class Received:
    """Notifications of Alertmanager: (receiver, alert, status), in order."""

    told: list[tuple[str, str, str]] = field(default_factory=list)

    def take(self, body: dict[str, Any]) -> None:
        """Note a call of the webhook."""
        for alert in body["alerts"]:
            self.told.append((body["receiver"], alert["labels"]["alertname"], alert["status"]))

    def firing(self) -> set[str]:
        """The alerts that were told and whose end was not."""
        last = {alert: status for _, alert, status in self.told}
        return {alert for alert, status in last.items() if status == "firing"}


class Watching:
    """Prometheus and Alertmanager that run."""

    def __init__(self, prometheus: str, alertmanager: str, received: Received) -> None:
        self._prometheus = prometheus
        self._alertmanager = alertmanager
        self.received = received

    def query(self, expr: str) -> list[float]:
        """The values of an expression now."""
        asked = urllib.parse.urlencode({"query": expr})
        result = _get(f"{self._prometheus}/api/v1/query?{asked}")["data"]["result"]
        return [float(one["value"][1]) for one in result]

    def unhealthy_rules(self) -> list[str]:
        """Rules that Prometheus could not evaluate."""
        groups = _get(f"{self._prometheus}/api/v1/rules")["data"]["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]

    def state(self, alert: str, **labels: str) -> str | None:
        """The state of an alert in Alertmanager, `active` or `suppressed`; None if it has none."""
        wanted = {"alertname": alert, **labels}
        found = [
            one["status"]["state"]
            for one in _get(f"{self._alertmanager}/api/v2/alerts")
            if wanted.items() <= one["labels"].items()
        ]
        return found[0] if found else None


@contextmanager
def watching(directory: Path, targets: Mapping[str, int], free_port: Callable[[], int]) -> Iterator[Watching]:
    """Run both on what is deployed: the same rules, jobs, routes and inhibitions.

    Only times are shortened, and each job in `targets` is at that port of loopback; other jobs are left out.
    """
    received = Received()
    prometheus, alertmanager = free_port(), free_port()
    with ExitStack() as running:
        webhook = running.enter_context(_webhook(received))
        _configure_alertmanager(directory, webhook)
        _configure_prometheus(directory, targets, alertmanager)
        running.enter_context(_alertmanager(directory, alertmanager))
        running.enter_context(_prometheus(directory, prometheus))
        watched = Watching(f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}", received)
        for url in (f"http://127.0.0.1:{port}/-/ready" for port in (alertmanager, prometheus)):
            blocking_until(lambda url=url: is_served(url))  # type: ignore[misc] # mypy infers no lambda with a default
        yield watched


def _configure_alertmanager(directory: Path, webhook: int) -> None:
    config = _deployed("alertmanager/alertmanager.yml")
    config["route"] |= QUICK
    for route in config["route"]["routes"]:
        route.update(QUICK)
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{webhook}/"}]
    _write(directory / "alertmanager.yml", config)


def _configure_prometheus(directory: Path, targets: Mapping[str, int], alertmanager: int) -> None:
    config = _deployed("prometheus/prometheus.yml")
    config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
    config["alerting"]["alertmanagers"] = [_at(alertmanager)]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        {**jobs.get(name, {"job_name": name}), "static_configs": [_at(port)["static_configs"][0]]}
        for name, port in targets.items()
    ]
    _write(directory / "prometheus.yml", config)
    (directory / "rules").mkdir()
    for file in (DEPLOY / "prometheus/rules").glob("*.yml"):
        rules = _deployed(f"prometheus/rules/{file.name}")
        for rule in (rule for group in rules["groups"] for rule in group["rules"] if "for" in rule):
            rule["for"] = FOR
        _write(directory / "rules" / file.name, rules)


def _at(port: int) -> dict[str, Any]:
    return {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}


def _deployed(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))


def _write(file: Path, config: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(config), encoding="utf-8")


@contextmanager
def _webhook(received: Received) -> Iterator[int]:
    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _alertmanager(directory: Path, port: int) -> Any:  # noqa: ANN401 - a context manager of a process
    return _running(
        directory / "alertmanager.log",
        program("alertmanager"),
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )


def _prometheus(directory: Path, port: int) -> Any:  # noqa: ANN401 - the same
    return _running(
        directory / "prometheus.log",
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    )


@contextmanager
def _running(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.kill()


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - a process of the test's own
        return json.load(response)
