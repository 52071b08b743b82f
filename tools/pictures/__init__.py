"""Pictures of Grafana's pages for the documentation, drawn by `python -m tools.pictures`.

Each is drawn from the page's committed JSON and the answers to the page's own queries, with the titles, texts
and colors that Grafana's own `@grafana/data` makes of both. The answers come from the embedded engine with a
simulated half-year; those of the pipeline's page from a running Prometheus and the ClickHouse beside it:

    python -m tools.pictures --prometheus http://127.0.0.1:9090 --clickhouse clickhouse://...
"""
