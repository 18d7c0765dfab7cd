"""Blocks read ahead: the pool is kept busy, and memory stays small."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fx_pipeline.ingest.reading import in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_pool_is_kept_busy_and_no_more_lies_in_memory(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    with ThreadPoolExecutor(threads) as pool:
        results = in_order(pool, threads, lambda item: item * item, items())
        for number, result in enumerate(results):
            assert result == number * number
            assert len(taken) == min(20, number + threads + 2)
