"""Corrections by hand: the fact found, what is said of it, and what that would change (rule 15)."""
