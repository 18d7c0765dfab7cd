"""The broker: the OANDA v20 adapter, and `paper/`, the local server that speaks the same protocol."""
