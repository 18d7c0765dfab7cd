"""The project's own exceptions: each message names the file, row or setting, and says what to do."""


class FxPipelineError(RuntimeError):
    """Base of every error that the project raises on purpose.

    Attributes
    ----------
    status : int
        With which the command leaves.
    """

    status = 2


class DataError(FxPipelineError, ValueError):
    """Market data that cannot be used as it is."""


class ConfigurationError(FxPipelineError, ValueError):
    """A setting, a command-line option or an environment variable that cannot be used as it is."""


class BrokerError(FxPipelineError):
    """The broker refused, could not be reached, or answered something that cannot be read."""
