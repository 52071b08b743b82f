"""The examples of other languages: `python -m tests.examples [--only LANGUAGE,...]`, or `make examples`.

Builds each, has it publish taps to a stack of its own in all its content modes, to Kafka or to the
gateway, and compares the ledger with them. The exit status is 1 if a call is another one than it must be.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from metering.times import format_time
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.settings import load
from phonemeter.stack import services
from phonemeter.stack.stack import Stack
from tests.clients.run import new_run
from tests.examples.programs import EXAMPLES_OF_LANGUAGES, Example
from tests.examples.taps import CALLS, NO_CODE, Tap, differences, lines_of, taps_of
from tests.ports import free_port
from tests.program_builds import NotBuiltError
from tools.debian import NotToBeHadError

SEND_TIMEOUT_S: Final = 120
WITHIN_S: Final = 60
ASKED_EVERY_S: Final = 0.5


def main() -> int:
    """Run the examples and print a line for each; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.examples", description=__doc__)
    languages = sorted({example.language for example in EXAMPLES_OF_LANGUAGES})
    parser.add_argument("--only", default=",".join(languages), help="comma-separated languages")
    wanted = parser.parse_args().only.split(",")
    if set(wanted) - set(languages):
        parser.error(f"no such language; there are: {', '.join(languages)}")
    ports = {name: free_port() for group in services.PORTS.values() for name in group}
    with (
        tempfile.TemporaryDirectory(prefix="examples-stack-") as directory,
        Stack(load(data_dir=Path(directory), **ports)) as stack,
    ):
        chosen = [example for example in EXAMPLES_OF_LANGUAGES if example.language in wanted]
        key = _new_key(stack)
        said = {example: _problems_of(example, stack, key) for example in chosen}
    for example, problems in said.items():
        named = f"{example.language} with {example.client} to {example.through}"
        print(f"{named}: {'; '.join(problems) or 'ok'}")  # noqa: T201 - a program
    failed = sum(bool(problems) for problems in said.values())
    print(f"{len(said) - failed} passed, {failed} failed")  # noqa: T201 - the same
    return 1 if failed else 0


def _new_key(stack: Stack) -> str:
    """A key for the gateway that sends events of every app; the gateway knows it a moment later."""
    with BusinessDatabase(stack.settings.business_url) as database:
        return KeyStore(database).issue("examples", ("emit",), ()).text


def _problems_of(example: Example, stack: Stack, key: str) -> list[str]:
    try:
        command, environ = example.built()
    except (NotBuiltError, NotToBeHadError) as error:
        return [str(error)]
    addresses = {"kafka": stack.endpoints.kafka, "gateway": f"{stack.endpoints.gateway}/v1/events"}
    run, problems, taps = new_run(), [], []
    for mode in example.modes:
        some = taps_of(example.name, mode, run)
        taps += some
        ran = subprocess.run(
            (*command, addresses[example.through], mode),
            env={name: value for name, value in os.environ.items() if name != "JDK_JAVA_OPTIONS"}
            | {**environ, "PHONEMETER_KEY": key},
            input=lines_of(some),
            capture_output=True,
            encoding="utf-8",
            timeout=SEND_TIMEOUT_S,
            check=False,
        )
        # A client may also tell of what it tried again, such as of a coordinator that is loading.
        said = ran.stderr.splitlines()
        if ran.returncode != 0 or NO_CODE not in said:
            problems.append(
                f"in {mode} mode it ended with status {ran.returncode} and said: {' '.join(said)}"
            )
    return problems + _differences(taps, f"-{run}-", stack)


def _differences(taps: list[Tap], run: str, stack: Stack) -> list[str]:
    """The differences of the ledger, as soon as it has everything or when time is up."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        rows = _rows(stack, f"kind IN {CALLS} AND position(appid, '{run}') > 0")
        refused = _rows(stack, "kind = 'rejection'")
        said = [*differences(taps, rows, stack.settings.partitions), *map(_refusal, refused)]
        if not said or refused or time.monotonic() > deadline:
            return said
        time.sleep(ASKED_EVERY_S)


def _refusal(row: dict[str, Any]) -> str:
    return f"a record was refused: {row['reason']} {row['details']}"


def _rows(stack: Stack, where: str) -> list[dict[str, Any]]:
    columns = "appid, capability, event_id, source_partition, scene, store, reason, details"
    moment = "toString(toUnixTimestamp64Milli(time)) AS time_ms"
    asked = f"SELECT {columns}, {moment} FROM phonemeter.ledger WHERE {where} FORMAT JSONEachRow"  # noqa: S608 - our own
    request = urllib.request.Request(stack.endpoints.clickhouse_http, data=asked.encode())  # noqa: S310 - the stack's own
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
        rows = [json.loads(line) for line in answer.read().decode().splitlines()]
    return [{**row, "time": format_time(int(row["time_ms"]))} for row in rows]


if __name__ == "__main__":
    sys.exit(main())
