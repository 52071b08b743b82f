"""Write the ledger topic to ClickHouse, exactly."""

import os

# Imported, clickhouse-driver lists the 146,098 days from 1900 on, which takes a tenth of a second and 23 MB:
# longer than all else of a small command takes. By this each day is added when it is first met.
os.environ.setdefault("CLICKHOUSE_DRIVER_LASY_DATE_LUT", "each when it is met")
