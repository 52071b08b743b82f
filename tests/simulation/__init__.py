"""The whole path of the ledger in one seeded process: real worker, real sink, everything around them faked.

`virtual_time.py` gives processes that can be killed and frozen between any two steps, and a clock that jumps.
`kafka.py`, `faust_app.py`, `source.py` and `engine.py` are what the worker and the sink talk to. `world.py`
lets all of it happen, `checks.py` says whether the outcome is right, `mutations.py` has the planted bugs.

    python -m tests.simulation --seed 17          the run of one seed, told step by step
    python -m tests.simulation --minutes 10       as many seeds as ten minutes hold
"""
