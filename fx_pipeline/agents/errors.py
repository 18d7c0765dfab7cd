"""What a training may end with."""

from fx_pipeline.market.errors import FxPipelineError


class TrainingDivergedError(FxPipelineError):
    """A loss, a gradient or what the networks give is not finite."""
