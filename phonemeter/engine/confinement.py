"""Confinement of the process by the kernel, in case a statement passes every other guard.

Landlock (Linux) removes rights from a thread and the threads that it starts later, for good. The remaining
rights are to read and write the data directory, and to read the files of the interpreter and chDB. Ports have
to be bound before; sockets that listen already are not affected.
"""

import os
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import landlockpy
from landlockpy import AccessFS, Scope

RENAMES_FROM: Final = 2
"""The first ABI that can allow renames between directories; chDB needs them."""
CONNECTIONS_FROM: Final = 4
"""The first ABI that can refuse TCP connections."""

READING: Final = AccessFS.READ_FILE | AccessFS.READ_DIR
WRITING: Final = (
    READING
    | AccessFS.WRITE_FILE
    | AccessFS.TRUNCATE
    | AccessFS.MAKE_REG
    | AccessFS.MAKE_DIR
    | AccessFS.MAKE_SYM
    | AccessFS.REMOVE_FILE
    | AccessFS.REMOVE_DIR
    | AccessFS.REFER
)

LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
MACHINE: Final = (
    "/usr/share/zoneinfo", "/dev/urandom", "/dev/random", "/sys/devices/system", "/sys/fs/cgroup",
    "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/sys/vm",
)  # fmt: skip
PROCESS: Final = ("auxv", "fd", "task", "stat", "statm", "status", "maps", "limits", "cgroup", "mountinfo")
"""Files of `/proc/self`; not `environ`, which holds the password.

Without `auxv` chDB takes what lies behind the environment for the auxiliary vector. Once a variable was added
that is heap memory, and by its contents chDB crashes while its library is loaded.
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The confinement that the kernel enforces."""

    files: bool
    connections: bool

    @property
    def missing(self) -> str | None:
        """A sentence for the operator about what this kernel cannot enforce, or None."""
        if self.files and self.connections:
            return None
        what = "files or connections" if not self.files else "connections"
        return (
            f"The kernel does not confine the engine's {what} (Landlock is missing, forbidden or too old): "
            f"only the engine's own access control keeps statements from them; use Linux 6.7 or newer."
        )


def confine(data: Path) -> Confinement:
    """Confine this process to `data`; to be called before other threads start."""
    try:
        abi = landlockpy.abi_version()
        if abi < RENAMES_FROM:
            return Confinement(files=False, connections=False)
        _restrict(data, abi)
    except landlockpy.LandlockError:
        # A container may forbid the calls themselves.
        return Confinement(files=False, connections=False)
    return Confinement(files=True, connections=abi >= CONNECTIONS_FROM)


def _restrict(data: Path, abi: int) -> None:
    with landlockpy.Ruleset(
        handled_fs=landlockpy.fs_for_abi(abi),
        handled_net=landlockpy.net_for_abi(abi),
        scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET,
    ) as rules:
        rules.allow_path(data, WRITING)
        rules.allow_path(os.devnull, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        for path in _readable():
            _allow_reading(rules, path)
        rules.restrict()


def _readable() -> Iterable[Path]:
    """Files that the interpreter, its packages and chDB read while they run."""
    schemes = sysconfig.get_paths()
    code = {schemes[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    ours = Path(__file__).parent
    named = (*code, *LIBRARIES, *MACHINE, *(f"/proc/self/{name}" for name in PROCESS))
    return (ours, *map(Path, sorted(named)))


def _allow_reading(rules: landlockpy.Ruleset, path: Path) -> None:
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    is_folder = path.is_dir()
    rules.allow_path(path, READING if is_folder else AccessFS.READ_FILE)
    # A rule on a file of /proc applies to one inode, which exists only while the file is open.
    if not path.is_relative_to("/proc"):
        os.close(held)
