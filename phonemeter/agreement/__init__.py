"""The agreement of the ledger with the platform's count: differences by cause, and the dispute of a day."""
