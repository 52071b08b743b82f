"""The reads: what an app has left, its packs, use, alerts and events, for the command line and over HTTP.

Each module asks the views in ClickHouse and answers with one type, which both print.
"""
