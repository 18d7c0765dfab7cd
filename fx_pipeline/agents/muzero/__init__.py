"""Stochastic MuZero (Antonoglou et al. 2022, "Planning in stochastic environments with a learned model").

`config` (the configuration tree and its presets), `networks`, `support` (two-hot values), `evaluator` (the networks as
the search sees them), `selfplay`, `replay`, `targets`, `learner`, `trainer` (the loop and its exact resume), `bundle`,
`checkpoint`, `policy`. torch is imported by the modules that need it, not by this page.
"""
