"""Set-up of `.tools` for `make`, with nothing but Python's standard library and without root."""
