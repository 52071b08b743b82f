"""Secrets in files: the one place that reads them, for every stage."""
