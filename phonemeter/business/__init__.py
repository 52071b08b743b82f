"""The business database: API keys, owners and members. SQLite, or PostgreSQL in production."""
