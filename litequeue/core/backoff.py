"""How long to wait before the next try."""

from __future__ import annotations

_LARGEST_EXPONENT = 62
"""2 to this power is more seconds than anybody waits; a larger power only makes a larger integer."""


def exponential_backoff(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds before try number `retries + 1`: `min(maximum, factor * 2 ** retries)`.

    With `full_jitter` it is a whole number drawn evenly from 0 up to that value, so that tasks which failed together do
    not come back together. This is Celery's formula; the jitter is "full jitter" of
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    wait: int = min(maximum, factor * 2 ** min(max(retries, 0), _LARGEST_EXPONENT))
    if wait <= 0:
        return 0
    if full_jitter:
        import random

        return random.randrange(wait + 1)
    return wait
