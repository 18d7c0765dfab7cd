"""The project's own exceptions: each message names the file, row or setting, and says what to do."""

from fx_pipeline.market.redact import without_credentials


class FxPipelineError(RuntimeError):
    """Base of every error that the project raises on purpose; credentials of an address do not show in its text.

    Attributes
    ----------
    status : int
        With which the command leaves.
    """

    status = 2

    def __str__(self) -> str:
        """Return the message."""
        return without_credentials(super().__str__())


class DataError(FxPipelineError, ValueError):
    """Market data that cannot be used as it is."""


class MissingFileError(DataError, FileNotFoundError):
    """A file of the data folder that is not there."""


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
