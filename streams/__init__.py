"""The Faust stream processor: phone-events in, phone-ledger out."""
