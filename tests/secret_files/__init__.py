"""Tests of secrets in files."""
