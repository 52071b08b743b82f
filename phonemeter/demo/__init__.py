"""The demo: traffic through the whole stack of one machine, watched, drawn and checked to the last call."""
