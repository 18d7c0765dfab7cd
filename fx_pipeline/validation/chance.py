"""The judge's own randomness: seeds that nobody chooses, enough runs, and p-values that are not lucky draws.

A p-value from resampling is itself a draw. Who may choose its seed or the number of runs can repeat it until it passes;
so both are fixed, the seed by the data, and the upper confidence bound of the p-value is what is judged.
"""

import hashlib

from scipy.stats import beta, binom

#: Fewer resampled histories judge nothing.
MIN_RUNS = 10_000
#: Of the bounds on p-values, one-sided.
CONFIDENCE = 0.95


def judge_seed(fingerprint: str, purpose: str) -> int:
    """Return the seed of a resampling: the same for the same data and purpose, whoever asks, and below 2^63.

    Parameters
    ----------
    fingerprint : str
        Of the data that is judged.
    purpose : str
        What is resampled: two purposes never share their draws.
    """
    digest = hashlib.sha256(f"{fingerprint}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def upper_bound(hits: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Upper confidence bound of a probability of which `hits` of `runs` draws spoke (Clopper and Pearson 1934).

    Parameters
    ----------
    hits, runs : int
        ``0 <= hits <= runs``, at least one run.
    confidence : float

    Returns
    -------
    float
        1 when every draw hit.
    """
    if not 0 <= hits <= runs or runs < 1:
        raise ValueError(f"{hits} of {runs} draws is no share.")
    return 1.0 if hits == runs else float(beta.ppf(confidence, hits + 1, runs - hits))


def cautious_size(size: float, runs: int, confidence: float = CONFIDENCE) -> float:
    """Return the largest share of draws whose `upper_bound` does not exceed `size`; 0 where even none does.

    A test that is made at this level on resampled draws has at most `size`, but for one such draw in twenty.
    """
    hits = int(binom.ppf(1.0 - confidence, runs, size)) - 1
    return max(hits, 0) / runs
