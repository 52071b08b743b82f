"""Figures with their conditions: what the stream costs per event, on this machine, now."""
