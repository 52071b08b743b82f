"""Errors of the gateway that its parts raise to each other."""


class KeysUnavailableError(Exception):
    """The database of the API keys does not answer."""
