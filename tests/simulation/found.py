"""Seeds that have found a planted bug before, which the search for it tries first."""

from typing import Final

FOUND_WITH: Final = {
    "the header does not wait for the outcome": 2003,
    "a refused record counts as stored": 2006,
    "workers share one epoch": 2032,
    "a zombie worker stores a checkpoint without confirming its membership": 2051,
    "the sink commits before it inserts": 2003,
    "the sink forgets the INSERTs that it left under way": 2017,
    "a late pack makes no app unsettled": 2056,
    "what does not fit is applied": 2008,
    "a corrected pack keeps its price": 2011,
    "a correction that came before its fact is forgotten": 2086,
    "the worker does not wait for acknowledgements": 2005,
    "the horizon is not stored": 2031,
    "a worker goes on after the group has removed it": 2033,
    "the sink does not go back when its delivery stalls": 2003,
    "a refund that is void stays": 2037,
    "a pack that is known stays though another purchase of it is earlier": 2014,
    "the leader epoch of a record is not compared": 2004,
    "versions share one slot": 2015,
    "the last line is cut off": 2001,
    "records ahead are metered as if they came next": 2005,
    "the sink takes every gap for an honest one": 2001,
    "the sink takes a gap for an honest one when it sees it twice": 2001,
    "a settlement is applied whatever was settled before": 2003,
    "a part of a settlement is applied without those before it": 2040,
    "events that were not confirmed in time count as stored": 2005,
    "events that are given up when the gateway connects anew count as stored": 2005,
}
"""By the bug: a seed that finds it, where those before find nothing or take long. Where the code has changed
since and it finds nothing, the search goes on with all others."""
