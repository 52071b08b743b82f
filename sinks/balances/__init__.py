"""The balances of all apps in memory, as fresh as the stream, and what is decided by them over HTTP."""
