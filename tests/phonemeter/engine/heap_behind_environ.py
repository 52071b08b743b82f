"""chDB loaded in confinement while the words behind the environment look like an auxiliary vector.

The heap may lie there so, once a variable was added: the size word of a chunk of 32 bytes in use is 33, which
is the type of the vDSO's address, and the chunk's contents are taken for that address.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from phonemeter.engine.chdb_library import load_chdb
from phonemeter.engine.confinement import confine

AT_SYSINFO_EHDR: Final = 33
AT_NULL: Final = 0
NO_ADDRESS: Final = 0x41414141414141


def main() -> None:
    assert confine(Path(sys.argv[1])).missing is None
    environ = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ")
    strings = ctypes.cast(environ, ctypes.POINTER(ctypes.c_uint64))
    words: list[int] = []
    while strings[len(words)]:
        words.append(strings[len(words)])
    words += [0, AT_SYSINFO_EHDR, NO_ADDRESS, AT_NULL, 0]
    block = (ctypes.c_uint64 * len(words))(*words)
    environ.value = ctypes.addressof(block)
    load_chdb()
    sys.stdout.write("loaded")
    sys.stdout.flush()
    # Its threads have been seen to crash while the interpreter ends.
    os._exit(0)


main()
