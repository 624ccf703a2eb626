"""The live view in a real terminal: `litequeue inspect` behind a pty, its screen read by a terminal emulator."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, ROOT
from tests.inspect import looked_at
from tests.inspect.conftest import NAME

pytest.importorskip("textual")
pexpect = pytest.importorskip("pexpect")
pyte = pytest.importorskip("pyte")
if sys.platform == "win32":
    pytest.skip("a pty is POSIX's", allow_module_level=True)

NARROW, WIDE = (80, 24), (160, 50)
OURS = ("LITEQUEUE_", "NO_COLOR", "COLUMNS", "LINES", "TEXTUAL")
"""What is not handed on of the environment."""
KEYS = {"enter": "\r", "escape": "\x1b", "tab": "\t", "down": "\x1b[B", "ctrl+c": "\x03"}
ALTERNATE_OFF, CURSOR_ON, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"


class Terminal:
    """A terminal with `litequeue inspect` in it."""

    def __init__(self, file: str, size: tuple[int, int], *options: str, **environment: str) -> None:
        columns, rows = size
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        clean = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        clean |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "litequeue", "-b", file, "inspect", "--refresh", "0.2", *options],
            dimensions=(rows, columns),
            env=clean,
            timeout=PATIENCE,
        )
        self.child.delaybeforesend = None

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def line(self, word: str) -> str:
        """The first line with a word."""
        return next((line for line in self.screen.display if word in line), "")

    def _read(self) -> None:
        try:
            written = self.child.read_nonblocking(1 << 16, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.written += written
        self._stream.feed(written)

    def until(self, fact: Callable[[], Any], what: str = "it") -> Any:
        """The first true answer of `fact`."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := fact()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen:\n{self.text}")
            self._read()
        return answer

    def shows(self, *words: str) -> Terminal:
        """Wait until the screen has all of these."""
        self.until(lambda: all(word in self.text for word in words), repr(words))
        return self

    def press(self, *keys: str) -> Terminal:
        """Type."""
        for key in keys:
            self.child.send(KEYS.get(key, key))
        return self

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        self.until(lambda: not self.child.isalive(), "its end")
        self._read()
        self.child.close()
        code: int = self.child.exitstatus
        return code

    def is_restored(self) -> bool:
        """Whether the terminal is as it was: main screen, cursor, no mouse."""
        return all(mark in self.written for mark in (ALTERNATE_OFF, CURSOR_ON, MOUSE_OFF))


@pytest.fixture
def file(app: Any, ended: Any) -> str:
    """A queue in which some tasks ended, and some wait."""
    ended(looked_at.boom.delay("luck"), looked_at.add.delay(1, 2), looked_at.add.delay(3, 4))
    looked_at.add.apply_async((5, 6), queue="mail")
    return str(app.store.path)


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Start the live view on a file."""
    opened: list[Terminal] = []

    def start(*given: Any, **more: Any) -> Terminal:
        opened.append(Terminal(*given, **more))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.child.close(force=True)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "160x50"])
def test_open_filter_retry_revoke_quit(
    app: Any, file: str, open_terminal: Callable[..., Terminal], size: tuple[int, int]
) -> None:
    """A whole visit: what the screen says, and what it does to the file."""
    terminal = open_terminal(file, size)
    terminal.shows("litequeue", "1 Overview", "queue.db", "Queues", "○ celery", "○ mail", "No worker is registered")
    terminal.shows("Failed lately", "ValueError: no luck", "q quit")
    assert terminal.line("○ mail").replace("no worker", "").split()[2] == "1"
    terminal.until(lambda: ("Workers" in terminal.line("Queues")) == (size == WIDE), "two panes on the wide one")

    terminal.press("2").shows("4 tasks", "looked_at.boom", "5, 6")
    terminal.press("/", "state:failed").shows("1 task", "failed")
    terminal.until(lambda: "5, 6" not in terminal.text, "only what failed")
    terminal.press("enter").shows("/ state:failed", "r retry")
    terminal.press("enter").shows(f"{NAME}boom", "Arguments", "'luck'", "Error", "ValueError: no luck", "esc back")

    [failed] = app.control.dead()
    terminal.press("r").shows("runs again", "Why it does not run")
    assert app.store.task(failed.id).state == "ready"

    terminal.press("x").shows("Revoke this task?", "esc", "leave it as it is")
    terminal.press("y").shows("revoked")
    terminal.until(lambda: app.store.task(failed.id).state == "revoked")

    terminal.press("escape").shows("No task is like that")
    assert terminal.press("q").ended() == 0
    assert terminal.is_restored()


def test_the_last_line_holds_the_keys_and_nothing_is_wider_than_the_screen(
    file: str, open_terminal: Callable[..., Terminal]
) -> None:
    """The frame stands where it belongs."""
    terminal = open_terminal(file, NARROW).shows("Queues", "q quit")
    assert terminal.screen.display[0].startswith(" litequeue")
    assert "q quit" in terminal.screen.display[-1]
    terminal.press("2").shows("4 tasks")
    assert terminal.screen.display[0].rstrip()[-8:].count(":") == 2, "the time is at the right edge"
    assert [len(line) for line in terminal.screen.display] == [80] * 24


def test_ctrl_c_ends_it_with_130_and_a_whole_terminal(file: str, open_terminal: Callable[..., Terminal]) -> None:
    """As every command."""
    terminal = open_terminal(file, NARROW).shows("Queues", "q quit")
    assert terminal.press("ctrl+c").ended() == 130
    assert terminal.is_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_leaves_a_whole_terminal(
    file: str, open_terminal: Callable[..., Terminal], number: signal.Signals
) -> None:
    """The exit code says which."""
    terminal = open_terminal(file, NARROW).shows("Queues", "q quit")
    os.kill(terminal.child.pid, number)
    assert terminal.ended() == 128 + number
    assert terminal.is_restored()


def test_the_terminal_echoes_again_afterwards(file: str) -> None:
    """What the program changes of how the terminal treats what is typed it changes back."""
    command = f"stty -g; {shlex.quote(sys.executable)} -m litequeue -b {shlex.quote(file)} inspect; echo; stty -g"
    environment = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", command],
        dimensions=(24, 80),
        env=environment | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
        timeout=PATIENCE,
    )
    child.expect(rb"([0-9a-f]+(:[0-9a-f]+)+)\r?\n")
    before = child.match[1]
    child.expect(b"Queues")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.before.split()[-1] == before


@pytest.mark.parametrize("how", ["NO_COLOR", "-C", "vt100"])
def test_without_colours_there_are_none(file: str, open_terminal: Callable[..., Terminal], how: str) -> None:
    """No colour is written; marks and words say the same."""
    if how == "NO_COLOR":
        terminal = open_terminal(file, NARROW, NO_COLOR="1")
    elif how == "-C":
        terminal = open_terminal(file, NARROW, "-C")
    else:
        terminal = open_terminal(file, NARROW, TERM="vt100", COLORTERM="")
    terminal.shows("Queues", "○ celery", "q quit").press("2").shows("4 tasks", "failed", "succeeded")
    assert b"38;2;" not in terminal.written and b"48;2;" not in terminal.written
    if how != "vt100":
        cells = [cell for row in terminal.screen.buffer.values() for cell in row.values()]
        assert {(cell.fg, cell.bg) for cell in cells} == {("default", "default")}
    assert terminal.press("q").ended() == 0
