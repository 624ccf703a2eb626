"""A figure, and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

UNITS = {
    "/s": lambda value: f"{value:,.0f}/s",
    "s": lambda value: f"{value:,.3f} s",
    "ms": lambda value: f"{value:,.2f} ms" if value < 10 else f"{value:,.1f} ms",
    "%": lambda value: f"{value:,.2f} %" if value < 1 else f"{value:,.0f} %",
    "MiB": lambda value: f"{value:,.1f} MiB",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number."""

    name: str
    unit: str
    """A key of `UNITS`; more is better for "/s", and for "%" where `at_least` says so, else less is."""
    ours: float
    reach: float | None = None
    """The number it is held to."""
    ceiling: float | None = None
    """What the bare loop makes of the same work in the same run."""
    ceiling_share: float | None = None
    """The share of the ceiling it is held to, where that is the measure."""
    at_least: bool = True
    """Whether `reach` is a lower bound; else an upper one."""
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the figure is what it should be; None where nothing was set."""
        if self.ceiling_share is not None and self.ceiling:
            return self.ours >= self.ceiling_share * self.ceiling
        if self.reach is None:
            return None
        return self.ours >= self.reach if self.at_least else self.ours <= self.reach

    def text(self, value: float | None) -> str:
        """A value in the figure's unit."""
        return "" if value is None else UNITS[self.unit](value)

    def target(self) -> str:
        """What it is held to."""
        if self.ceiling_share is not None:
            return f"{self.ceiling_share:.0%} of ceiling"
        if self.reach is None:
            return ""
        return f"{'>=' if self.at_least else '<='} {self.text(self.reach)}"

    def line(self) -> str:
        """The figure as a row of the table."""
        mark = {True: "yes", False: "NO", None: ""}[self.reached]
        share = f"{self.ours / self.ceiling:.0%}" if self.ceiling else ""
        peers = ", ".join(f"{name} {self.text(value)} ({self.times(value)})" for name, value in self.peers.items())
        cells = f"{self.name:42} {self.text(self.ours):>12} {self.text(self.ceiling):>12} {share:>6} "
        return f"{cells}{self.target():>18} {mark:>4}   {'; '.join(filter(None, (peers, self.note)))}".rstrip()

    def times(self, peer: float) -> str:
        """How many times better than a peer."""
        better = self.ours / peer if self.at_least else peer / self.ours
        return f"{better:.1f}x"


HEADER = f"{'figure':42} {'litequeue':>12} {'ceiling':>12} {'share':>6} {'to reach':>18} {'ok':>4}   beside it"


def as_json(figures: list[Figure]) -> str:
    """Every figure, for a program to read."""
    return json.dumps([asdict(figure) | {"reached": figure.reached} for figure in figures], indent=1)
