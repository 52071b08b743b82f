"""A seeded simulation of the ledger's path in one process: real worker, sink and settler, all else simulated.

`virtual_time.py` has processes that can be killed and frozen between any two steps, and a virtual clock.
`workers.py`, `sinks.py` and `settlers.py` have the processes, `kafka.py`, `faust_app.py`, `source.py` and
`engine.py` what they talk to. `world.py` runs everything and injects faults, `checks.py` checks the outcome,
`mutations.py` and `settlement_mutations.py` have the planted bugs.

    python -m tests.simulation --seed 17          run one seed and report each fault
    python -m tests.simulation --minutes 10       run seeds for ten minutes
"""
