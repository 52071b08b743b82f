"""The real thing under faults: broker, workers, sinks and engine as processes, load, and a seeded misfortune.

    make torture SEED=1 MINUTES=5

It ends with a table of the faults, and exit status 1 if anything was lost or doubled. `faults.py` has what
can happen, `rig.py` the processes, `load.py` the events, `verdict.py` the comparison with the rules alone.
"""
