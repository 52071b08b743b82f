"""Migrations of the business database, in Alembic's layout."""
