"""Analyse every module of this machine's standard library in worker processes, and kill one of them on the way.

    python run.py [--concurrency 2] [--limit N] [--no-kill]

Starts a worker and sends one canvas: a chord for each package, of its modules and their sum, and a chord over all of
them. Kills a worker process with SIGKILL when a quarter is done, and reports. Exits with 1 if a task was lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PATIENCE = 60  # seconds without a task that ends after which the run gives up


def main() -> int:
    """Run the report; returns the exit code."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="stdlib_report.", ignore_cleanup_errors=True) as folder:
        # Before the app is imported, here and in the worker: a fresh queue file for each run.
        os.environ["LITEQUEUE_BROKER_URL"] = str(Path(folder) / "stdlib_report.db")
        log = Path(folder) / "worker.log"
        with running_worker(options.concurrency, log) as worker:
            return report(options, worker, log)


def report(options: argparse.Namespace, worker: subprocess.Popen[bytes], log: Path) -> int:
    """Send, wait, print; returns the exit code."""
    import litequeue

    library = Path(sysconfig.get_path("stdlib"))
    packages = find_packages(library, options.limit)
    modules = sum(map(len, packages.values()))
    print(f"litequeue {litequeue.__version__}, Python {sys.version.split()[0]}, {options.concurrency} worker processes")

    began = time.perf_counter()
    result = canvas(library, packages).delay()
    tasks = modules + len(packages) + 1
    print(
        f"Sent {tasks:,} tasks in one transaction, in {time.perf_counter() - began:.2f} s: one for each of {modules:,}"
        f" modules\nunder {library}, one over each of {len(packages)} packages, one over all."
    )

    killed = wait_for(result, modules, worker, kill_at=None if options.no_kill else modules // 4)
    seconds = time.perf_counter() - began

    if result.successful():
        print_totals(result.get())
        print(f"\nThe workflow, as the file has it:\n\n{drawing(result.app.graph(result, limit=tasks))}")
    return print_verdict(result, packages, seconds, killed, log)


def canvas(library: Path, packages: dict[str, list[Path]]) -> Any:
    """The whole work: a chord of chords."""
    from tasks import analyse
    from tasks import library as library_task
    from tasks import package as package_task

    from litequeue import chord

    return chord(
        [
            chord(
                [analyse.s(str(path), str(path.relative_to(library))) for path in modules],
                package_task.s(name),
            )
            for name, modules in packages.items()
        ],
        library_task.s(),
    )


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Analyse the standard library in worker processes.")
    parser.add_argument("-c", "--concurrency", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--limit", type=int, default=None, help="analyse only the first LIMIT modules")
    parser.add_argument("--no-kill", action="store_true", help="let every worker process live")
    return parser.parse_args()


def find_packages(library: Path, limit: int | None) -> dict[str, list[Path]]:
    """Every Python file of the standard library, without installed packages, by the package it belongs to."""
    others = {"site-packages", "dist-packages", "__pycache__"}
    files = sorted(path for path in library.rglob("*.py") if others.isdisjoint(path.relative_to(library).parts))
    packages: dict[str, list[Path]] = {}
    for path in files[:limit]:
        parts = path.relative_to(library).parts
        packages.setdefault(parts[0] if len(parts) > 1 else "single modules", []).append(path)
    return packages


@contextmanager
def running_worker(concurrency: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, as a user starts it; stopped warmly at the end."""
    command = [sys.executable, "-m", "litequeue", "-A", "app", "worker", "-c", str(concurrency), "-l", "WARNING"]
    with log.open("w") as output:
        worker = subprocess.Popen(command, cwd=HERE, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(timeout=20)
        except subprocess.TimeoutExpired:
            worker.kill()


def analyses(result: Any) -> Any:
    """The results of the modules: the members of each package's header, one step before its sum."""
    from litequeue.result import ResultSet

    return ResultSet(module for package in result.parent.results for module in package.parent.results)


def wait_for(result: Any, modules: int, worker: subprocess.Popen[bytes], kill_at: int | None) -> int | None:
    """Show how many modules are done until all has ended, or the worker has; returns the process that was killed."""
    every_module = analyses(result)
    progress = Progress(modules)
    done, killed, since = 0, None, time.monotonic()
    while not result.ready() and worker.poll() is None and time.monotonic() - since < PATIENCE:
        before, done = done, every_module.completed_count()
        if done > before:
            since = time.monotonic()
            progress.show(done)
        if kill_at is not None and killed is None and done >= kill_at:
            killed = kill_a_busy_process(every_module.results)
            progress.note(f"Killed worker process {killed} with SIGKILL in the middle of a task.")
        time.sleep(0.1)
    progress.show(every_module.completed_count())
    progress.end()
    return killed


def kill_a_busy_process(results: list[Any]) -> int:
    """SIGKILL the process that runs one of `results`; returns its pid."""
    for result in results:
        while not result.ready():
            running = result.info  # of a task that runs: {"pid": ..., "hostname": ...}
            if isinstance(running, dict) and "pid" in running:
                os.kill(running["pid"], signal.SIGKILL)
                return int(running["pid"])
    raise SystemExit("no task was seen running")


def print_totals(totals: dict[str, Any]) -> None:
    """What the standard library consists of, and its ten largest modules."""
    print(f"\n  {totals['files']:>9,} files, of which {totals['not_python']} are not Python 3 (test data)")
    for what in ("lines", "functions", "classes", "imports"):
        print(f"  {totals[what]:>9,} {what}")

    print(f"\n  {'the ten largest modules':44} {'lines':>7} {'functions':>10} {'classes':>8}")
    for one in totals["largest"]:
        print(f"  {one['module']:44} {one['lines']:>7,} {one['functions']:>10,} {one['classes']:>8,}")


def print_verdict(result: Any, packages: dict[str, list[Path]], seconds: float, killed: int | None, log: Path) -> int:
    """Whether every task ended in SUCCESS, and every sum was made of all it is the sum of; returns the exit code."""
    results = [*analyses(result), *result.parent, result]
    lost = [one.id for one in results if one.state != "SUCCESS"]

    print(f"\n{len(results):,} tasks in {seconds:.1f} s: {len(results) / seconds:,.0f} tasks a second.")
    if not lost:
        totals = result.get()
        if killed is not None:
            twice = totals["ran_again"]
            reason = (
                "was killed while it held " + ("it" if twice == 1 else "them") if twice else "had just finished one"
            )
            print(f"{twice} ran twice: process {killed} {reason}.")
        expected = {name: len(modules) for name, modules in packages.items()}
        if totals["packages"] == expected:
            print(f"Nothing was lost: {len(results):,} tasks sent, {len(results):,} SUCCESS, each sum complete.")
            return 0
        print(f"WRONG: the sums are of {totals['packages']}, not of {expected}")
    else:
        print(f"LOST: {len(lost)} tasks did not end in SUCCESS: {', '.join(lost[:5])} ...")
    print(f"The worker said:\n{log.read_text()}")
    return 1


def drawing(graph: Any) -> str:
    """The workflow as text that this terminal can show."""
    text = graph.to_text(ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))
    return "\n".join(f"  {line}" for line in text.splitlines())


class Progress:
    """A bar on a terminal; a line for every tenth elsewhere."""

    WIDTH = 40

    def __init__(self, total: int) -> None:
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.began = time.monotonic()
        self.drawn = 0.0
        self.tenth = 0

    def show(self, done: int) -> None:
        """Draw the state after `done` tasks, if it is time to."""
        if self.terminal:
            now = time.monotonic()
            if now - self.drawn > 0.05 or done == self.total:
                self.drawn = now
                print(f"\r\x1b[2K{self.text(done)}", end="", flush=True)
        elif done * 10 // self.total > self.tenth:
            self.tenth = done * 10 // self.total
            print(self.text(done), flush=True)

    def text(self, done: int) -> str:
        """The bar as it stands."""
        filled = self.WIDTH * done // self.total
        speed = done / max(time.monotonic() - self.began, 0.001)
        bar = "#" * filled + "-" * (self.WIDTH - filled)
        return f"[{bar}] {100 * done // self.total:>3} %  {done:,} of {self.total:,}, {speed:,.0f} a second"

    def note(self, text: str) -> None:
        """A line that stays above the bar."""
        print(f"\r\x1b[2K{text}" if self.terminal else text, flush=True)

    def end(self) -> None:
        """Leave the bar."""
        if self.terminal:
            print()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
