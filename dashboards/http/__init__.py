"""The reads over HTTP: endpoints that the gateway serves beside those for events.

The gateway checks key, scope and app; the program gives the connection to ClickHouse.
"""
