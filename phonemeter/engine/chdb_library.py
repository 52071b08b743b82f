"""chDB's library, loaded without the Python package around it.

Importing the package opens and closes a database in memory, with signal handlers of chDB's own: this doubles
the start time, and puts a second engine into the process.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, Final

PACKAGE: Final = "chdb"
LIBRARY: Final = "_chdb"


def load_chdb() -> Any:  # noqa: ANN401 - chDB ships no types
    """Load the library; a crash is left to the handlers of this process.

    Raises:
        ImportError: chDB is not installed, or not for this machine.
    """
    package = find_spec(PACKAGE)
    spec = PathFinder.find_spec(LIBRARY, package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        raise ImportError(f"The library of {PACKAGE} is not installed.")
    flags = sys.getdlopenflags()
    # As the package does: its symbols must not be taken from libraries that are loaded already.
    sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        library: Any = module_from_spec(spec)
        spec.loader.exec_module(library)
    finally:
        sys.setdlopenflags(flags)
    library.set_signal_handlers_enabled(False)
    return library
