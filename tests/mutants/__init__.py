"""Mistakes made on purpose, one at a time, in the rules, the worker and the sinks: some test has to fail.

    make mutants SEED=1 MINUTES=60 ARGS="metering streams/state_log.py"

cosmic-ray knows what mistakes there are and makes them; nothing is written to disk for that. `making.py` has
the choice of them, `trying.py` the tests that are run for each, `survivors.py` those of `survivors.toml` that
change nothing that anybody could notice, each with the reason.
"""
