"""The audit: the ledger, recomputed from the log by the rules, against the topics and ClickHouse."""
