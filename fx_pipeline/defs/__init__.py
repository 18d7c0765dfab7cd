"""The Dagster layer: assets, partitions, jobs, schedules, sensors, checks and resources; no logic of its own."""
