"""Shared parts of services that answer over HTTP: server and limits, log, health pages, run and end."""
