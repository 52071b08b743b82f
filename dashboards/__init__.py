"""Views and dashboards over the ledger in ClickHouse."""
