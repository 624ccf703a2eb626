"""The wait before a retry."""

from __future__ import annotations

import pytest

from litequeue.core.backoff import exponential_backoff


@pytest.mark.parametrize(
    ("factor", "retries", "maximum", "wait"),
    [(1, 0, 600, 1), (1, 3, 600, 8), (5, 2, 600, 20), (1, 10, 600, 600), (0, 5, 600, 0), (1, 100_000, 600, 600)],
)
def test_it_doubles_up_to_the_maximum(factor: int, retries: int, maximum: int, wait: int) -> None:
    assert exponential_backoff(factor, retries, maximum) == wait


@pytest.mark.parametrize(("factor", "retries", "maximum"), [(-3, 2, 600), (1, -1, 600), (1, 3, -5)])
def test_it_is_never_below_zero(factor: int, retries: int, maximum: int) -> None:
    assert exponential_backoff(factor, retries, maximum) >= 0
    assert exponential_backoff(factor, retries, maximum, full_jitter=True) >= 0


def test_full_jitter_draws_from_zero_to_the_wait() -> None:
    drawn = {exponential_backoff(1, 2, 600, full_jitter=True) for _ in range(400)}
    assert drawn == {0, 1, 2, 3, 4}
