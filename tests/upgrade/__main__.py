"""A rolling upgrade under load, from the services of a commit to today's: `make upgrade FROM=COMMIT`.

Two workers, a sink, a notifier, a gateway and a console of the commit, in an environment of its own, meter
what a producer of the commit publishes; one after the other they end and start again as today's, in the
order of docs/how-to/upgrading.md. A back end goes on sending to the gateway, a member stays in the console,
and each alert must arrive once. Then the audit of today compares everything. Prints one JSON object.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from metering.topics import LEDGER
from phonemeter.audit.auditor import audit
from phonemeter.audit.report import AuditReport
from phonemeter.settings import Settings, load
from phonemeter.stack import services
from phonemeter.stack.launch import child_command
from phonemeter.stack.stack import Stack
from phonemeter.topic_reader import offset_spans
from tests.ports import free_port
from tests.sinks.notifier.parts import SECRET, SECRET_VARIABLE, Receiver, webhook_routes
from tests.upgrade.users import BackEnd, Member
from tests.waiting import blocking_until, is_served

ROOT: Final = Path(__file__).parents[2]
SETTLES_S_MAX: Final = 300.0
STARTS_S_MAX: Final = 180.0
HEALTH_PORTS: Final = ("metrics_port", "notifier_port", "worker_port")
LOOK_S: Final = 0.1
LOAD_AT_MOST: Final = "15m"


class Version:
    """A checkout with its environment."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder

    def start(self, settings: Settings, log: Path, *arguments: str, **own: object) -> subprocess.Popen[bytes]:
        """Start a command of this version with settings of its own; it dies with this process."""
        command = child_command((str(self._python), "-m", "phonemeter", *arguments))
        with log.open("ab") as file:
            return subprocess.Popen(
                command, cwd=self._folder, env=_environ(settings, own), stdout=file, stderr=file
            )

    def run(self, settings: Settings, *arguments: str) -> str:
        """Run a command of this version to its end; returns what it printed."""
        ran = self.tried(settings, *arguments)
        if ran.returncode:
            sys.exit(f"{' '.join(arguments)} of {self._folder} failed: {ran.stderr}")
        return ran.stdout.strip()

    def tried(self, settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this version to its end, however it ends."""
        return subprocess.run(
            [str(self._python), "-m", "phonemeter", *arguments],
            cwd=self._folder,
            env=_environ(settings, {}),
            capture_output=True,
            text=True,
            check=False,
        )


def _environ(settings: Settings, own: Mapping[str, object]) -> dict[str, str]:
    given = {
        "kafka": settings.kafka,
        "clickhouse": settings.clickhouse,
        "data_dir": settings.data_dir,
        "partitions": settings.partitions,
        "console_port": settings.console_port,
        **own,
    }
    environ = {f"PHONEMETER_{name.upper()}": str(value) for name, value in given.items()}
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return {**kept, SECRET_VARIABLE: SECRET, **environ}


class Services:
    """The running services, each of which is replaced by the same of another version."""

    def __init__(self, settings: Settings, routes: Path) -> None:
        self._settings = settings
        self._logs = settings.data_dir / "logs"
        self.own: dict[str, dict[str, object]] = {
            "console": {"console_metrics_port": settings.console_metrics_port},
            "gateway": {
                "gateway_port": settings.gateway_port,
                "gateway_metrics_port": settings.gateway_metrics_port,
            },
            "notifier": {"notifier_port": settings.notifier_port, "alert_routes": routes},
            "sink": {"sink_metrics_port": settings.sink_metrics_port},
            "worker-1": {"worker_port": settings.worker_port},
            "worker-2": {"worker_port": free_port()},
        }
        """Their own settings by name, in the order of an upgrade."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, version: Version, name: str) -> None:
        """Start a service, in place of the one of its name."""
        before = self._running.pop(name, None)
        if before is not None:
            before.terminate()
            before.wait()
        command = name.partition("-")[0]
        log = self._logs / f"{name}.log"
        self._running[name] = version.start(self._settings, log, command, **self.own[name])

    def wait_started(self, name: str) -> None:
        """Wait until a service is ready."""
        port = next(value for key, value in self.own[name].items() if key.endswith(HEALTH_PORTS))
        url = f"http://127.0.0.1:{port}/readyz"
        blocking_until(lambda: is_served(url), STARTS_S_MAX, what=f"{name} is ready")

    def end(self) -> None:
        """End them all."""
        for one in self._running.values():
            one.terminate()
        for one in self._running.values():
            one.wait()


class LedgerPace:
    """The longest time without a new record in a partition of the ledger, looked at during a block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="upgrade-pace")
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        newest: dict[int, tuple[int, float]] = {}
        while not self._over.wait(LOOK_S):
            spans = offset_spans(self._settings.kafka_access, LEDGER)
            now_s = time.monotonic()
            for partition, span in spans.items():
                end, since_s = newest.get(partition, (span.end, now_s))
                self.longest_s = max(self.longest_s, now_s - since_s)
                if partition not in newest or span.end > end:
                    newest[partition] = (span.end, now_s)


def checked_out(commit: str, uv: str, folder: Path) -> Version:
    """The commit in a folder, with an environment of its own."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive.stdout, check=True)
    subprocess.run([uv, "sync", "--frozen", "--no-dev", "--quiet"], cwd=folder, check=True)
    return Version(folder / ".venv" / "bin" / "python", folder)


def upgraded(old: Version, new: Version, settings: Settings, rate: float, step_s: float) -> dict[str, Any]:
    """Upgrade under load; returns the figures."""
    load_log = settings.data_dir / "logs" / "load.log"
    with contextlib.ExitStack() as closing:
        receiver = closing.enter_context(Receiver())
        only_refused = 'alerts = ["refused"]'
        routes = webhook_routes(settings.data_dir / "routes.toml", receiver.url, more=only_refused)
        services = Services(settings, routes)
        closing.callback(services.end)
        old.run(settings, "topics")
        for name in services.own:
            services.start(old, name)
        for name in services.own:
            services.wait_started(name)
        member, back_end = users(old, settings)
        closing.enter_context(back_end)
        load_arguments = ("simulate", "--realtime", "--rate", f"{rate:g}", "--for", LOAD_AT_MOST)
        producing = old.start(settings, load_log, *load_arguments)
        time.sleep(2 * step_s)
        signed_in, refusal = [], ""
        with LedgerPace(settings) as pace:
            for name in services.own:
                services.start(new, name)
                services.wait_started(name)
                if name == "console":
                    # It has migrated the business database, which the other services of before have open.
                    refusal = old.tried(settings, "keys", "list").stderr.strip()
                signed_in.append(member.is_signed_in())
                time.sleep(step_s)
        # It publishes what it has begun, and says how much that was.
        producing.terminate()
        producing.wait()
        back_end.end()
        delivered = re.search(r"([\d,]+) delivered", load_log.read_text())
        sent = int(delivered[1].replace(",", "")) if delivered else -1
        report = settled(settings, sent + len(back_end.appids))

        def alerts() -> list[str]:
            """The apps of the alerts, those of the simulated traffic left out."""
            told = (one["data"]["appid"] for one in receiver.verified())
            return [appid for appid in told if appid in back_end.appids]

        blocking_until(
            lambda: len(set(alerts())) == len(back_end.appids), SETTLES_S_MAX, what="every alert arrived"
        )
    return {
        "sent": sent,
        "sent_to_the_gateway": len(back_end.appids),
        "lost_at_the_gateway": back_end.failures,
        "longest_delivery_to_the_gateway_s": round(back_end.longest_s, 1),
        "records": sum(one.records for one in report.partitions),
        "events": report.figures.events,
        "alerts": len(set(alerts())),
        "alerts_sent_twice": len(alerts()) - len(set(alerts())),
        "session_survived": all(signed_in),
        "old_program_on_the_migrated_database": refusal or "goes on",
        "clean": report.clean,
        "differences": {place: found.kinds for place, found in report.places.items() if found.kinds},
        "repeated": sum(found.repeated for found in report.places.values()),
        "longest_pause_s": round(pace.longest_s, 1),
    }


def users(old: Version, settings: Settings) -> tuple[Member, BackEnd]:
    """A member of the old console, and a back end with a key of the old version."""
    old.run(settings, "owners", "add", "Coffee Ltd", "--app", "wx8ff4154a2448e576")
    link = old.run(settings, "members", "add", "li@coffee.example", "--owner", "Coffee Ltd", "--quiet")
    key = old.run(settings, "keys", "issue", "back-end", "--all-apps", "--quiet")
    return Member(link), BackEnd(f"http://127.0.0.1:{settings.gateway_port}", key)


def is_right(figures: Mapping[str, Any]) -> bool:
    """Return whether nothing was lost, doubled or noticed."""
    return (
        figures["clean"]
        and not figures["lost_at_the_gateway"]
        and figures["events"] == figures["sent"] + figures["sent_to_the_gateway"]
        and figures["alerts"] == figures["sent_to_the_gateway"]
        and not figures["alerts_sent_twice"]
        and figures["session_survived"]
    )


def settled(settings: Settings, events: int) -> AuditReport:
    """The audit, once so many events have their outcome, and everything is stored."""
    found: list[AuditReport] = []

    def nothing_in_flight() -> bool:
        found[:] = [audit(settings)]
        # Clock ticks go on, so some record is always in flight.
        at_rest = all(
            one.in_flight + one.not_stored < 10 * settings.partitions for one in found[0].partitions
        )
        return at_rest and found[0].figures.events >= events

    blocking_until(nothing_in_flight, SETTLES_S_MAX, what=f"{events:,} events have an outcome")
    return found[0]


def main() -> None:
    """Run it from the command line."""
    asked = argparse.ArgumentParser(prog="make upgrade", description=__doc__)
    asked.add_argument("commit")
    asked.add_argument("--uv", default="uv")
    asked.add_argument("--rate", type=float, default=300)
    asked.add_argument("--step-s", type=float, default=12)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="phonemeter-upgrade-") as folder:
        # A path of this directory is none of the other one.
        uv = shutil.which(given.uv) or given.uv
        old = checked_out(given.commit, str(Path(uv).absolute()), Path(folder, "old"))
        new = Version(Path(sys.executable), ROOT)
        ports = {name: free_port() for names in services.PORTS.values() for name in names}
        settings = load(data_dir=Path(folder, "data"), **ports)
        with Stack(settings, only=("kafka", "engine"), make_topics=False):
            figures = upgraded(old, new, settings, given.rate, given.step_s)
    print(json.dumps({"from": given.commit, **figures}))  # noqa: T201 - the result
    sys.exit(0 if is_right(figures) else 1)


if __name__ == "__main__":
    main()
