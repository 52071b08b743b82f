"""kustomize, which renders the Kubernetes manifests: the machine's own, or built by Go into `.tools`."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tools import go
from tools.debian import NotToBeHadError

MODULE: Final = Path(__file__).with_name("kustomize")
PROGRAM: Final = Path(__file__).parents[1] / ".tools" / "kustomize"
OUTPUT_CHARS_MAX: Final = 300


def command(built: Path = PROGRAM) -> tuple[str, ...]:
    """The command that renders a directory.

    Raises:
        NotToBeHadError: neither kubectl nor kustomize is there, and Go could not build it.
    """
    for name, verb in (("kubectl", "kustomize"), ("kustomize", "build")):
        own = shutil.which(name)
        if own is not None:
            return own, verb
    built.parent.mkdir(parents=True, exist_ok=True)
    with built.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(built)
    return str(built), "build"


def _build(built: Path) -> None:
    ran = subprocess.run(  # noqa: S603 - Go, of a module whose checksums are beside this file
        (go.program(), "build", "-o", str(built), "sigs.k8s.io/kustomize/kustomize/v5"),
        cwd=MODULE,
        env={**os.environ, "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        said = " ".join(ran.stderr.split())[-OUTPUT_CHARS_MAX:]
        raise NotToBeHadError(f"Go could not build kustomize ({said}): check the network, or get kubectl.")
