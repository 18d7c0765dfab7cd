"""What happens to a checkpoint: spans, trainings, scores, verification, promotion, tenure. It knows no Dagster."""
