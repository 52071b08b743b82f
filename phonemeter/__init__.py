"""The program `phonemeter`: it wires the stages together and adds what only works on all of them.

From the top; no package imports from one above it, and those on one line do not import each other:

- `cli`: the commands, one module each.
- `demo`: traffic through a whole stack, drawn and checked. `metrics`: the page of every service's metrics.
- `audit`: the ledger recomputed from the log and compared everywhere; an event's history; repair.
  `replay`: the log metered again by other rules, and the state rebuilt. `dead_letters`: listed, explained,
  corrected and published again.
- `stack`: Kafka, the engine and the services of one machine as supervised processes, and their health.
- `settings`, `event_log`, `topic_reader`, `clickhouse`, `kafka_admin`, `terminal`, ...: shared by the
  packages above share.
- `engine`: ClickHouse in one process, for one machine; it imports nothing else of this package.
"""

import os

# Before clickhouse-driver is imported, which modules here do before those of sinks: the reason is there.
os.environ.setdefault("CLICKHOUSE_DRIVER_LASY_DATE_LUT", "each when it is met")
