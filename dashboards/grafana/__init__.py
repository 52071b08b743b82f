"""The Grafana dashboard: `usage` says what it shows, `panels` how Grafana wants it written.

`python -m dashboards.grafana` writes the resulting JSON; a test holds both together.
"""
