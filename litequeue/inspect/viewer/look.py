"""How the viewer looks: three palettes, and the tones that lines are written in.

Tones say what a text means, a palette says which style that is. `terminal` uses the sixteen colours and the background
of the terminal itself, and stays readable without any colour: what a tone means is also a word, a mark or an attribute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from litequeue.core import state

TEXT: Final = "text"
MUTED: Final = "muted"
"""Units, headings, what is 0, what is over."""
FAINT: Final = "faint"
"""Lines and the empty part of a bar."""
STRONG: Final = "strong"
TITLE: Final = "title"
KEY: Final = "key"
CHOSEN: Final = "chosen"
"""The tab that is open."""
RUNNING: Final = "running"
GOOD: Final = "good"
BAD: Final = "bad"
WARN: Final = "warn"


@dataclass(frozen=True)
class Palette:
    """One look."""

    name: str
    dark: bool
    background: str
    raised: str
    """Behind head, foot and questions."""
    selected: str
    """Behind the selected row."""
    colors: Mapping[str, str]
    ansi: bool = False

    @cached_property
    def styles(self) -> Mapping[str, Style]:
        """The style of each tone, without a background."""
        return {tone: Style.parse(text) for tone, text in self.colors.items()}

    @cached_property
    def cursor(self) -> Style:
        """What lies over the selected row."""
        return Style(reverse=True) if self.ansi else Style(bgcolor=self.selected)

    @cached_property
    def theme(self) -> Theme:
        """The same for the widgets that come with Textual: scroll bars, the filter's line, toasts."""

        def color(tone: str) -> str:
            if self.ansi:
                return ANSI[tone]
            return self.colors[tone].split()[-1]

        return Theme(
            name=self.name,
            primary=color(TITLE),
            secondary=color(RUNNING),
            accent=color(KEY),
            foreground=color(TEXT),
            background=self.background,
            surface=self.background,
            panel=self.raised,
            boost=self.raised,
            success=color(GOOD),
            warning=color(WARN),
            error=color(BAD),
            dark=self.dark,
            ansi=self.ansi,
            variables=self._variables(color(FAINT), color(MUTED)),
        )

    def _variables(self, faint: str, muted: str) -> dict[str, str]:
        known = BUILTIN_THEMES["ansi-dark"].variables if self.ansi else {}
        return {
            **known,
            "scrollbar": faint,
            "scrollbar-hover": muted,
            "scrollbar-active": muted,
            "scrollbar-background": self.background,
            "scrollbar-background-hover": self.background,
            "scrollbar-background-active": self.background,
            "scrollbar-corner-color": self.background,
        }


DARK: Final = Palette(
    name="litequeue-dark",
    dark=True,
    background="#15181d",
    raised="#1d2128",
    selected="#2a3646",
    colors={
        TEXT: "#d3d7de",
        MUTED: "#7f8895",
        FAINT: "#3b424d",
        STRONG: "bold #eef1f5",
        TITLE: "bold #9db8d2",
        KEY: "#9db8d2",
        CHOSEN: "bold #eef1f5 on #33445a",
        RUNNING: "#6fb1f2",
        GOOD: "#7fc294",
        BAD: "#f07f7f",
        WARN: "#dcb967",
    },
)
LIGHT: Final = Palette(
    name="litequeue-light",
    dark=False,
    background="#fbfaf7",
    raised="#f1efe9",
    selected="#dbe7f3",
    colors={
        TEXT: "#262b33",
        MUTED: "#6f7782",
        FAINT: "#cdd1d6",
        STRONG: "bold #0d1117",
        TITLE: "bold #34608a",
        KEY: "#34608a",
        CHOSEN: "bold #0d1117 on #d3e0ee",
        RUNNING: "#1b6ac9",
        GOOD: "#2a7a45",
        BAD: "#c2353a",
        WARN: "#8b6200",
    },
)
TERMINAL: Final = Palette(
    name="litequeue-terminal",
    dark=True,
    background="ansi_default",
    raised="ansi_default",
    selected="ansi_default",
    colors={
        TEXT: "default",
        MUTED: "dim default",
        FAINT: "dim default",
        STRONG: "bold default",
        TITLE: "bold default",
        KEY: "bold default",
        CHOSEN: "bold reverse",
        RUNNING: "blue",
        GOOD: "green",
        BAD: "red",
        WARN: "yellow",
    },
    ansi=True,
)
ANSI: Final = {
    TEXT: "ansi_default",
    MUTED: "ansi_bright_black",
    FAINT: "ansi_bright_black",
    STRONG: "ansi_default",
    TITLE: "ansi_default",
    KEY: "ansi_default",
    RUNNING: "ansi_blue",
    GOOD: "ansi_green",
    BAD: "ansi_red",
    WARN: "ansi_yellow",
}
PALETTES: Final = {palette.name: palette for palette in (DARK, LIGHT, TERMINAL)}


def choose(colors: int | None, environment: Mapping[str, str] = os.environ) -> Palette:
    """The palette for a terminal of so many colours (None: unknown, or not wanted).

    `COLORFGBG` is what terminals write whose background is known: `15;0` is light on dark, `0;15` dark on light.
    """
    if colors is None or colors < 256:
        return TERMINAL
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in ("7", "15") else DARK


STATE_TONES: Final = {
    state.RUNNING: RUNNING,
    state.SUCCEEDED: GOOD,
    state.FAILED: BAD,
    state.REVOKED: WARN,
    state.READY: TEXT,
    state.SCHEDULED: TEXT,
    state.WAITING: MUTED,
    state.IGNORED: MUTED,
}
"""The tone of each of the engine's states."""
