"""What random numbers of a training are for; see `agents.kit.seeds`."""

from enum import IntEnum

from fx_pipeline.agents.kit.seeds import derived_seed as derived_seed
from fx_pipeline.agents.kit.seeds import generator as generator


class Purpose(IntEnum):
    """What a random number is for."""

    WEIGHTS = 0
    STARTS = 1
    SEARCH = 2
    EXPLORATION = 3
    BATCH = 4
    DROPOUT = 5
    REANALYZE = 6
    PROJECTION = 7
