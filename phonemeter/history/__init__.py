"""Files of past facts turned into events: read, mapped, put in order of time, compared with the ledger."""
