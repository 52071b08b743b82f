"""Files of Debian packages: fetched and checked by the machine's own apt, unpacked, never installed."""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 540
OUTPUT_CHARS_MAX: Final = 300


class NotToBeHadError(Exception):
    """A tool is not there and cannot be fetched; the text says what failed, why, and what to do."""


def unpacked(
    packages: tuple[str, ...],
    target: Path,
    otherwise: str,
    prepare: Callable[[Path], None] = lambda _: None,
    *,
    with_needs: bool = False,
) -> Path:
    """Directory with the files of `packages`, made now if it is not there; half a one is never left.

    `prepare` changes what would not work there; it is given the directory before that has its name.
    `with_needs` brings along the packages that these need and the machine does not have.

    apt takes the sources, mirrors and keys of the machine, but writes its lists beside the target: so it
    needs no root, and lists that are old or missing do not matter. It checks what it fetches by signature.

    Raises:
        NotToBeHadError: there is no apt, or it could not; `otherwise` says what to do instead.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.partial-", dir=target.parent) as partial:
                try:
                    files = _unpack(packages, Path(partial), with_needs=with_needs)
                except NotToBeHadError as error:
                    raise NotToBeHadError(f"{error} Otherwise {otherwise}.") from None
                prepare(files)
                files.rename(target)
    return target


def _unpack(packages: tuple[str, ...], directory: Path, *, with_needs: bool) -> Path:
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if apt is None or dpkg is None:
        raise NotToBeHadError(f"There is no apt to fetch {' and '.join(packages)} with.")
    lists, debs, files = directory / "lists", directory / "debs", directory / "files"
    for needed in (lists / "partial", debs):
        needed.mkdir(parents=True)
    options = {
        "Dir::State::Lists": lists,
        "Dir::Cache": directory,
        # Who may write here is who runs this, not apt's own user.
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
    }
    asked = [apt, "--quiet=2", *(f"--option={name}={value}" for name, value in options.items())]
    # One broken source among good ones does not matter: the download shows whether what is needed is there.
    updated = _run([*asked, "update"], directory)
    fetched = _missing(asked, packages, directory) if with_needs else packages
    downloaded = _run([*asked, "download", *fetched], debs)
    if downloaded.returncode != 0:
        said = " ".join((updated.stderr + downloaded.stderr).split())[:OUTPUT_CHARS_MAX]
        raise NotToBeHadError(f"apt could not fetch {' and '.join(packages)} ({said}); check the network.")
    for deb in debs.glob("*.deb"):
        opened = _run([dpkg, "-x", str(deb), str(files)], directory)
        if opened.returncode != 0:
            raise NotToBeHadError(f"{deb.name} could not be unpacked: {' '.join(opened.stderr.split())}.")
    return files


def _missing(asked: list[str], packages: tuple[str, ...], directory: Path) -> tuple[str, ...]:
    """The packages, and what would be installed for them; themselves also where the machine has them."""
    install = ["install", "--simulate", "--quiet=0", "--no-install-recommends", *packages]
    planned = _run([*asked, *install], directory).stdout.splitlines()
    needed = (line.split()[1] for line in planned if line.startswith("Inst "))
    return tuple(dict.fromkeys((*packages, *needed)))


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - apt and dpkg from the user's path
            command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHadError(f"{Path(command[0]).name} did not end within {TIMEOUT_S} s.") from None
