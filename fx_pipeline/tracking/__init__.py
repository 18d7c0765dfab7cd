"""Tracking: MLflow runs and the model registry, and the ledger of every trial whose score was looked at."""
