"""The image of the Dockerfile, built and tried where no registry of images is: `make image`, as root.

Its base is a Debian by debootstrap, from the machine's own sources; buildah carries the steps out. What comes
out is for `docker load`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tools.debian import NotToBeHadError

ROOT: Final = Path(__file__).parents[1]
DIRECTORY: Final = ROOT / ".tools" / "image"
SUITE: Final = "bookworm"
BASE: Final = "localhost/phonemeter-base"
NEEDED: Final = ("debootstrap", "buildah", "unshare", "setpriv")
CERTIFICATES: Final = "/etc/ssl/certs"
UNUSED: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""Parts of the base that no service reads, as in Debian's own slim images."""

PORT: Final = 16_066
READY_S: Final = 300
STOPS_S: Final = 30

CONFINED: Final = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
root="$1"; ids="$2"; shift 2
exec chroot "$root" setpriv --reuid="${ids%:*}" --regid="${ids#*:}" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all "$@"
"""
"""A command as compose runs it: without rights, on a root that is only read, with a small /tmp."""

NOT_WRITABLE: Final = """
import os, pathlib
for place in ("/", "/app", "/var/tmp", "/app/.venv"):
    try:
        pathlib.Path(place, "written").touch()
    except OSError:
        continue
    raise SystemExit(f"{place} can be written")
pathlib.Path("/tmp/written").touch()
assert os.getuid() == 10001
"""


class ImageError(Exception):
    """The image could not be built, or is not what it has to be."""


def build(archive: Path) -> None:
    """Build the image into an archive of that path."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise NotToBeHadError(
            f"An image is built as root, with {', '.join(NEEDED)}: install them with "
            "apt-get install debootstrap buildah util-linux."
        )
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    _build_base()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    tag = f"phonemeter:{version}"
    _buildah(
        *("build", "--isolation=chroot", "--layers", f"--build-arg=BASE={BASE}:{SUITE}", f"--tag={tag}"),
        f"--build-arg=REVISION={_revision()}",
        # The certificates that the machine trusts, for its own index or proxy; they are not in the image.
        *(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", str(ROOT)),
    )
    with _mounted(tag) as root:
        _try(root, json.loads(_buildah("inspect", "--type=image", tag))["OCIv1"]["config"])
        size = int(subprocess.run(("du", "-sm", root), capture_output=True, check=True).stdout.split()[0])  # noqa: S603, S607
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    _buildah("push", "--quiet", tag, f"docker-archive:{archive}:{tag}")
    packed = archive.with_name(f"{archive.name}.gz")
    _run("gzip", "--force", "--keep", str(archive))
    archive.unlink()
    sys.stdout.write(
        f"{packed.relative_to(ROOT)}: {tag}, {size} MB, {packed.stat().st_size // 1_000_000} MB packed; "
        f"load it with: docker load --input {packed.relative_to(ROOT)}\n"
    )


def _revision() -> str:
    """The commit that is checked out; empty where that is no checkout."""
    asked = subprocess.run(  # noqa: S603 - of ours
        ("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"),  # noqa: S607 - whichever git is there
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def _build_base() -> None:
    """Make the base once: Debian's smallest with Python."""
    if BASE in _buildah("images", "--format={{.Name}}"):
        return
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as made:
        debian = Path(made, "debian")
        _run("debootstrap", "--variant=minbase", "--include=python3,ca-certificates", SUITE, str(debian))
        for part in UNUSED:
            for entry in (debian / part).iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        with tarfile.open(Path(made, "base.tar"), "w") as tar:
            tar.add(debian, ".")
        Path(made, "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        shutil.rmtree(debian)
        _buildah("build", "--isolation=chroot", f"--tag={BASE}:{SUITE}", made)


@contextmanager
def _mounted(tag: str) -> Iterator[Path]:
    container = _buildah("from", tag)
    try:
        yield Path(_buildah("mount", container))
    finally:
        _buildah("rm", container)


def _try(root: Path, config: dict[str, Any]) -> None:
    """Run what the image has as compose does, and ask a worker that waits for Kafka whether it lives."""
    environ = dict(line.split("=", 1) for line in config["Env"])
    command = ("unshare", "--mount", "--pid", "--fork", "sh", "-ec", CONFINED, "sh")
    confined = (*command, str(root), config["User"])
    _run(*confined, "python", "-c", NOT_WRITABLE, environ=environ)
    _run(*confined, *config["Entrypoint"], "--version", environ=environ)
    told = {"PHONEMETER_KAFKA": "127.0.0.1:1", "PHONEMETER_WORKER_PORT": str(PORT)}
    with subprocess.Popen((*confined, *config["Entrypoint"], "worker"), env=environ | told) as worker:  # noqa: S603
        try:
            _wait_until_alive(worker)
            _signal_inside(worker, signal.SIGTERM)
            worker.wait(STOPS_S)
        except subprocess.TimeoutExpired:
            raise ImageError(f"the worker in it does not stop within {STOPS_S} s") from None
        finally:
            _signal_inside(worker, signal.SIGKILL)


def _signal_inside(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to what unshare runs; it passes none on."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        os.kill(int(child), number)


def _wait_until_alive(worker: subprocess.Popen[bytes]) -> None:
    for _ in range(READY_S):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/livez", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError):
            try:
                worker.wait(1)
            except subprocess.TimeoutExpired:
                continue
            break
    raise ImageError("the worker in it does not answer /livez")


def _buildah(*arguments: str) -> str:
    return _run("buildah", f"--root={DIRECTORY}/storage", f"--runroot={DIRECTORY}/run", *arguments)


def _run(*command: str, environ: dict[str, str] | None = None) -> str:
    """Output of a command; while it runs, its progress is on stderr."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environ)  # noqa: S603 - ours
    if ran.returncode != 0:
        raise ImageError(f"{' '.join(command[:2])} ended with status {ran.returncode}")
    return ran.stdout.strip()


if __name__ == "__main__":
    try:
        build(ROOT / "dist" / "phonemeter-image.tar")
    except (NotToBeHadError, ImageError, OSError) as error:
        sys.exit(f"There is no image: {error}")
