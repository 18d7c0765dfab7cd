"""Ingestion: raw pages from the broker, file importers, quarantine, and the parquet lake."""
