"""Validation: rollouts, metrics, Monte Carlo, significance, the gate and the report. It knows agents as a `Policy`."""
