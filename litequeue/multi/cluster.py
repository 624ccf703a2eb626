"""What is done to the processes of nodes: started, told to stop, waited for, killed.

A process is found by its pid file and named by its pid and its start time, so that no signal reaches another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from litequeue.multi.nodes import Node
from litequeue.multi.pidfile import holder

AT_ONCE: Final = 8
"""How many nodes start at the same time."""

BY_FILE: Final = os.name == "nt"
"""Whether a stop is asked for through the queue's file: where a signal could only end the process at once."""

_LOOK: Final = 0.05  # seconds between looks at processes that are to end

Result = Literal["ok", "failed", "down", "signalled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one node."""

    node: str
    result: Result
    """`ok`: it runs, or has ended, as asked; `down`: it did not run; `signalled`: it was told, nobody waited."""
    pid: int | None = None
    error: str | None = None
    """Why it is `failed`, or why it is taken for `down` although its pid file is there."""

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"node": self.node, "result": self.result, "pid": self.pid, "error": self.error}


# Start


def start(nodes: Iterable[Node], *, at_once: int = AT_ONCE) -> Iterator[Outcome]:
    """Start the nodes, some at the same time; what became of each, in their order, as soon as it is known."""
    waiting = deque(nodes)
    running: deque[tuple[Node, subprocess.Popen[str] | Outcome]] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                node = waiting.popleft()
                running.append((node, _launch(node)))
            node, launched = running[0]
            outcome = launched if isinstance(launched, Outcome) else _launched(node, launched)
            running.popleft()
            yield outcome
    finally:
        for _, left in running:
            if isinstance(left, subprocess.Popen):
                _interrupt(left)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """End a start that nobody waits for; an interrupted one takes along what it has begun to start."""
    if os.name == "nt":
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)
    process.communicate()


def start_one(node: Node) -> Outcome:
    """Start the node, and wait until it runs."""
    return next(iter(start([node])))


def _launch(node: Node) -> subprocess.Popen[str] | Outcome:
    """The process that starts the node in the background and ends when that runs, or has failed."""
    try:
        for path in (node.pidfile, node.logfile):
            Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            node.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as exc:
        return Outcome(node=node.name, result="failed", error=str(exc))


def _launched(node: Node, process: subprocess.Popen[str]) -> Outcome:
    _, said = process.communicate()
    if process.returncode == 0:
        runs = _find(node)
        return Outcome(node=node.name, result="ok", pid=None if isinstance(runs, Outcome) else runs.pid)
    ended = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
    return Outcome(node=node.name, result="failed", error=_reason(said) or f"it ended with {ended}")


def _reason(said: str) -> str | None:
    """The line that says why a command failed: its last, behind notes and a traceback."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("litequeue: ") if lines else None


# Stop


class Running:
    """The nodes that run, and those that do not."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.down: list[Outcome] = []
        self._processes: dict[psutil.Process, Node] = {}
        for node in nodes:
            found = _find(node)
            if isinstance(found, Outcome):
                self.down.append(found)
            else:
                self._processes[found] = node

    def __iter__(self) -> Iterator[tuple[Node, int]]:
        """Each node that is waited for, and its pid."""
        return ((node, process.pid) for process, node in self._processes.items())

    def signal(
        self,
        number: signal.Signals,
        told: Callable[[Node, int], None] | None = None,
        *,
        by_file: bool = BY_FILE,
    ) -> list[Outcome]:
        """Send the signal to each; `told` is called before. With `by_file`, SIGTERM is a command in the queue's file.

        What could not be told, or had ended already, is not waited for.
        """
        outcomes = []
        for process, node in list(self._processes.items()):
            if told is not None:
                told(node, process.pid)
            if by_file and number == signal.SIGTERM:
                outcome = _shut_down(node, process)
            else:
                outcome = _send(node, process, number)
            outcomes.append(outcome)
            if outcome.result != "signalled":
                del self._processes[process]
        return outcomes

    def ended(self, looked: Callable[[], None] | None = None) -> Iterator[list[tuple[Node, Outcome]]]:
        """Wait for their ends, those told together that come together; `looked` is called each second without one."""
        looks = 0
        while self._processes:
            together = [(node, process.pid) for process, node in self._processes.items() if has_ended(process)]
            if together:
                gone = {pid for _, pid in together}
                self._processes = {
                    process: node for process, node in self._processes.items() if process.pid not in gone
                }
                yield [(node, Outcome(node=node.name, result="ok", pid=pid)) for node, pid in together]
                continue
            time.sleep(_LOOK)
            looks += 1
            if looked is not None and looks % round(1 / _LOOK) == 0:
                looked()


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; one that nobody has reaped yet, as where a container has no init, runs no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _find(node: Node) -> psutil.Process | Outcome:
    try:
        process = holder(node.pidfile)
    except OSError as exc:
        return Outcome(node=node.name, result="failed", error=f"{node.pidfile}: {exc.strerror}")
    if process is not None:
        return process
    stale = f"{node.pidfile} is left over from a process that has ended" if os.path.exists(node.pidfile) else None
    return Outcome(node=node.name, result="down", error=stale)


def _send(node: Node, process: psutil.Process, number: signal.Signals) -> Outcome:
    try:
        # psutil compares the start time first: a pid that was given again is never signalled.
        if os.name == "nt":
            process.kill()
        else:
            process.send_signal(number)
    except psutil.NoSuchProcess:
        return Outcome(node=node.name, result="down", pid=process.pid)
    except psutil.AccessDenied:
        error = f"process {process.pid} belongs to {_owner(process)}, and may not be signalled by this user"
        return Outcome(node=node.name, result="failed", pid=process.pid, error=error)
    return Outcome(node=node.name, result="signalled", pid=process.pid)


def _owner(process: psutil.Process) -> str:
    try:
        return process.username()
    except psutil.Error:
        return "another user"


def _shut_down(node: Node, process: psutil.Process) -> Outcome:
    """Stop it by the command `shutdown` in the queue's file."""
    words = node.argv[: node.argv.index("worker")] if "worker" in node.argv else ()
    command = [node.executable, *words, "control", "--destination", node.name, "shutdown"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0 and not has_ended(process):
        ended = f"litequeue control shutdown ended with exit code {done.returncode}"
        error = _reason(done.stderr or done.stdout) or ended
        return Outcome(node=node.name, result="failed", pid=process.pid, error=error)
    return Outcome(node=node.name, result="signalled", pid=process.pid)
