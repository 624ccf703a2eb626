"""Sizes, spans and counts as people read them: the same words wherever they stand."""

from __future__ import annotations

from typing import Final

_SIZES: Final = ("B", "kB", "MB", "GB", "TB")
_SPANS: Final = ((("d", 86_400), ("h", 3600)), (("h", 3600), ("min", 60)), (("min", 60), ("s", 1)))
"""Two units that belong together, each with its seconds; the largest first."""


def size(count: float) -> str:
    """A number of bytes in the unit that fits, each a thousand of the one before: `4.1 MB`."""
    place = 0
    while count >= 999.5 and place < len(_SIZES) - 1:
        count, place = count / 1000, place + 1
    return f"{count:.0f} {_SIZES[place]}" if place == 0 or count >= 99.95 else f"{count:.1f} {_SIZES[place]}"


def span(seconds: float) -> str:
    """Seconds in the unit that fits, and the next smaller one: `1.5 s`, `3 min 20 s`, `2 h 5 min`; none is below 0."""
    seconds = max(seconds, 0.0)
    if seconds < 60:
        return f"{f'{seconds:.1f}'.removesuffix('.0') if seconds < 10 else f'{seconds:.0f}'} s"
    for units in _SPANS:
        if seconds >= units[0][1]:
            break
    (name, length), (smaller, part) = units
    left = int(seconds % length // part)
    return f"{int(seconds // length)} {name}{f' {left} {smaller}' if left else ''}"


def counted(count: int, noun: str) -> str:
    """`1 task`, `2 tasks`, `1,000 tasks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
