"""Health of a service: the promises that it keeps or breaks, its verdict, and the HTTP answers made from it.

Every service judges itself, for `/healthz` and its metrics. `phonemeter status` judges all services from
outside, by Kafka and ClickHouse, so that a service that cannot answer is judged as well.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from metering.preconditions import Breach

State = Literal["starting", "healthy", "unhealthy"]


Promise = Literal[
    # The service has begun its work; until then nothing else is judged.
    "started",
    # Processes of the service run; only judged from outside.
    "present",
    # Records that arrive are done within a minute.
    "fresh",
    # The position in each partition moves while its log grows.
    "advancing",
    # Positions are within their logs, and acknowledged entries are stored.
    "agreeing",
    # The server that the service writes to answers.
    "reachable",
    # Alerts are delivered as the routes file says.
    "delivered",
    # What the platform counts is read for every app.
    "observed",
    # An app whose facts arrived late is settled within a minute.
    "settled",
    # The topics are configured as the rules need.
    "preconditions",
]


Service = Literal["worker", "sink", "notifier", "settler", "audit", "wechat", "gateway", "console"]


PROMISES: Final[Mapping[Service, tuple[Promise, ...]]] = {
    "worker": ("started", "fresh", "advancing", "preconditions"),
    "sink": ("started", "fresh", "advancing", "reachable", "preconditions"),
    "notifier": ("started", "advancing", "delivered", "preconditions"),
    "settler": ("started", "advancing", "settled", "reachable", "preconditions"),
    "audit": ("started", "fresh", "agreeing", "preconditions"),
    "wechat": ("started", "observed"),
    "gateway": ("started", "fresh", "reachable"),
    "console": ("started", "reachable"),
}
"""The promises that each service judges by itself."""


class Problem(NamedTuple):
    """A broken promise in a sentence, with the partition if it is about one."""

    promise: Promise
    sentence: str
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a service.

    Attributes:
        service: its name.
        problems: the broken promises; while the service starts, the reason that it has not started.
        notices: advice.
        cluster: id of the Kafka cluster that it works on; empty if unknown.
    """

    service: Service
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def state(self) -> State:
        """The state in one word."""
        if any(problem.promise == "started" for problem in self.problems):
            return "starting"
        return "unhealthy" if self.problems else "healthy"

    def promises_kept(self) -> dict[Promise, bool]:
        """The promises that can be judged now, and for each True if it is kept."""
        broken = {problem.promise for problem in self.problems}
        if "started" in broken:
            return {"started": False}
        return {promise: promise not in broken for promise in PROMISES[self.service]}

    def document(self) -> dict[str, Any]:
        """The verdict as a JSON document."""
        return {
            "service": self.service,
            "state": self.state,
            "problems": [one._asdict() for one in self.problems],
            "notices": list(self.notices),
            "cluster": self.cluster,
        }


class HealthPage(NamedTuple):
    """The answer to a health request: `ok` decides the HTTP status, `document` is the body."""

    ok: bool
    document: dict[str, Any]


HEALTH_PATHS: Final = ("/livez", "/readyz", "/healthz")


def health_page(path: str, verdict: Callable[[], Verdict]) -> HealthPage:
    """Answer a request at one of the paths.

    * `/livez`: the process answers. Nothing else is checked, so that a fault elsewhere does not restart it.
    * `/readyz`: it has started.
    * `/healthz`: its promises hold.
    """
    if path == "/livez":
        return HealthPage(ok=True, document={"state": "alive"})
    current = verdict()
    ok = current.state == "healthy" if path == "/healthz" else current.state != "starting"
    return HealthPage(ok, current.document())


def starting_verdict(service: Service, why: str, cluster: str = "") -> Verdict:
    """The verdict on a service that has not started."""
    return Verdict(service, (Problem("started", f"The {service} is starting: {why}."),), (), cluster)


def verdict_of(
    service: Service, problems: Sequence[Problem], breaches: Collection[Breach], cluster: str = ""
) -> Verdict:
    """The verdict on a service that has started, from its problems and the breached preconditions."""
    unmet = tuple(Problem("preconditions", one.sentence) for one in breaches if one.weight != "advice")
    advice = tuple(one.sentence for one in breaches if one.weight == "advice")
    return Verdict(service, (*problems, *unmet), advice, cluster)
