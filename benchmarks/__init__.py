"""Benchmarks: one command a claim, `python -m benchmarks.NAME [--json]`, each a ratio to a peer in the same run."""
