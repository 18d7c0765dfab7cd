"""The fast engine: the networks, the search and the environment as compiled loops that never return to Python.

`vectors` makes the machine's vector instructions, `pack` lays weights out for them, `forward` is the networks,
`play` the loop of self-play. `fx_pipeline.agents.muzero.evaluator` is the oracle that all of it is tested against.
"""
