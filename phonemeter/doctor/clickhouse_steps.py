"""The steps to ClickHouse: connection and account, version, the ledger's rights, clock."""

import time
from typing import Final

from metering.times import SECOND_MS
from phonemeter.doctor.findings import Findings
from phonemeter.doctor.kafka_steps import CLOCK_MS_MAX
from sinks.connection import FAILURES, connect, database_of, is_missing, place_of, rows, sentence

ANSWER_S_MAX: Final = 5.0
_WRITERS: Final = frozenset({"sink"})
_READERS: Final = frozenset({"settler", "gateway", "console", "audit", "operator"})


def take_clickhouse_steps(url: str, services: frozenset[str], findings: Findings) -> None:
    """Try the steps to the ClickHouse in a URL, if a service uses it."""
    if not services & (_WRITERS | _READERS):
        return
    place = place_of(url)
    try:
        with connect(url, database="default", reply_timeout_s=ANSWER_S_MAX) as client:
            ((version, now_ms),) = rows(client, "SELECT version(), toUnixTimestamp64Milli(now64(3))")
    except FAILURES as error:
        findings.fail(
            "ClickHouse",
            place,
            f"ClickHouse at {place} does not let us in: {sentence(error)}",
            "Correct PHONEMETER_CLICKHOUSE, or ask for the address, the account and its password.",
        )
        findings.skip(("rights on the ledger", "clock of ClickHouse"), "ClickHouse does not answer")
        return
    findings.ok("ClickHouse", place, f"version {version}")
    _examine_rights(url, services, findings)
    apart_ms = now_ms - time.time_ns() // 1_000_000
    if abs(apart_ms) > CLOCK_MS_MAX:
        findings.fail(
            "clock of ClickHouse",
            place,
            f"Its clock is {apart_ms / SECOND_MS:+,.1f} s from this machine's.",
            "Ask for the clocks to be kept by NTP, here and there.",
        )
    else:
        findings.ok("clock of ClickHouse", place, f"{apart_ms:+,} ms from this machine's")


def _examine_rights(url: str, services: frozenset[str], findings: Findings) -> None:
    """Read the ledger, and ask whether it may be written."""
    table = f"{database_of(url)}.ledger"
    try:
        with connect(url, reply_timeout_s=ANSWER_S_MAX) as client:
            rows(client, "SELECT 1 FROM ledger LIMIT 0")
            if services & _WRITERS and rows(client, "CHECK GRANT INSERT ON ledger") == [(0,)]:
                raise PermissionError(f"GRANT INSERT ON {table} is missing")
    except FAILURES as error:
        if is_missing(error):
            findings.advise("rights on the ledger", table, "There is no ledger yet: the first sink makes it.")
            return
        findings.fail(
            "rights on the ledger",
            table,
            f"The account may not use {table}: {sentence(error)}",
            f"Ask for:\nGRANT {'SELECT, INSERT' if services & _WRITERS else 'SELECT'} ON "
            f"{database_of(url)}.* TO the account of PHONEMETER_CLICKHOUSE",
        )
    else:
        findings.ok("rights on the ledger", table)
