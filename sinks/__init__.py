"""Write the ledger topic to ClickHouse, exactly."""
