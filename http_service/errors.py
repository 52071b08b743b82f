"""Errors that end a service."""


class ServicePortError(Exception):
    """A port of the service can't be opened."""
