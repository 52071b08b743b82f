"""The rules of metering: pure functions from a log of records to a ledger."""
