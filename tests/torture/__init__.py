"""The torture: broker, workers, sinks and engine as real processes, under load and seeded faults.

    make torture SEED=1 MINUTES=5

It ends with a table of the faults, and with exit status 1 if anything was lost or doubled. `faults.py` has
the faults, `rig.py` the processes, `load.py` the events, `verdict.py` the comparison with the rules alone.
"""
