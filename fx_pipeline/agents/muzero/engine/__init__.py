"""The fast engine: the networks, the search and the environment as compiled loops that never return to Python.

`vectors` makes the machine's vector instructions, `kernels` runs them over rows, `pack` lays weights out for them,
`forward` is the networks, `search` a whole search, `play` the loop of self-play, and `engine` what Python sees.
`fx_pipeline.agents.muzero.evaluator` is the oracle that all of it is tested against.
"""
