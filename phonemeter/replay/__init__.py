"""Rating the log again: what other rules would have done, and a state built anew from the log."""
