"""chDB with one guard, or none: statements on stdin, answers on stdout.

`--confined`: the kernel's; `--granted`: that of chDB's own access control.
"""

import json
import os
import sys
from pathlib import Path

from phonemeter.engine import access
from phonemeter.engine.chdb_library import load_chdb
from phonemeter.engine.confinement import confine
from phonemeter.engine.directory import make_folders


def main() -> None:
    data = Path(sys.argv[1])
    os.environ["TMPDIR"] = str(make_folders(data))
    statements: list[str] = json.load(sys.stdin)
    if "--confined" in sys.argv:
        assert confine(data).missing is None
    chdb = load_chdb()
    place = str(data)
    if "--granted" in sys.argv:
        access.make_default_database(data)
        place = access.address(data)
    connection = chdb.connect(place)
    answers = []
    for statement in statements:
        try:
            answers.append(connection.query(statement, "TSVRaw").bytes().decode(errors="replace"))
        except RuntimeError as error:
            answers.append(str(error))
    sys.stdout.write(json.dumps(answers))
    sys.stdout.flush()
    # Its threads have been seen to crash while the interpreter ends.
    os._exit(0)


main()
