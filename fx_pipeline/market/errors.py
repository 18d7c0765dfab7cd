"""The project's own exceptions: each message names the file, row or setting, and says what to do."""


class FxPipelineError(RuntimeError):
    """Base of every error that the project raises on purpose."""


class DataError(FxPipelineError, ValueError):
    """Market data that cannot be used as it is."""


class NewerVersionError(DataError):
    """A file that a newer version of the code wrote: it is neither read nor replaced."""


class OlderVersionError(DataError):
    """A file that an older version of the code wrote, and that this one does not read any more."""


class StorageError(FxPipelineError, OSError):
    """The operating system refused to read or write a file: a full disk, a missing right, a folder in its place."""


class ConfigurationError(FxPipelineError, ValueError):
    """A setting, a command-line option or an environment variable that cannot be used as it is."""


class BrokerError(FxPipelineError):
    """The broker refused, could not be reached, or answered something that cannot be read."""
