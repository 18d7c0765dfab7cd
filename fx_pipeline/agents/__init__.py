"""Agents: one folder each. `base` holds the two protocols through which everything else knows them."""
