"""The log rated again: by other rules, to see the difference, or to rebuild the state."""
