"""The examples of other languages, run against a stack of their own."""
