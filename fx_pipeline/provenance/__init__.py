"""Provenance: the code that makes a result, as the closure of its imports, and whether a result still stands."""
