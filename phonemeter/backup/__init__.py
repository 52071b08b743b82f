"""Backups of the log, the state and the business database, and their restore into empty ones."""
