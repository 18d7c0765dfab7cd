"""Proximal policy optimisation on stable-baselines3, with weighted trades, a gate on entries and rising costs."""
