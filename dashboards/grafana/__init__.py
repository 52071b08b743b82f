"""Grafana's pages, written with Grafana's own SDK: `fleet`, `app`, `pipeline`, `money`; English and Chinese.

`page` is what all of them have, `panels` the kinds of panels, `clickhouse` and `prometheus` how they ask,
`queries/` the SQL, `chinese.toml` the Chinese; `pipeline` has two parts more, `pipeline_faults` and
`pipeline_alerts`. The SDK is a dependency of development only: what runs is the JSON, which
`python -m dashboards.grafana` writes. A test holds both together.
"""
