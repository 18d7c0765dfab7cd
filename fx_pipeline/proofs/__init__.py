"""Learning proofs: synthetic markets whose best policy is known, and how near an agent comes to it."""
