"""The phonemeter program: command line, settings and the one-machine stack."""
