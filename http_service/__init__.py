"""Shared parts of services that speak HTTP: server and limits, log, health pages, run and end, exchanges."""
