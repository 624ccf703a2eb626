"""Analyse every module of this machine's standard library in worker processes, and kill one of them on the way.

    python run.py [--concurrency 2] [--limit N] [--no-kill]

Starts a worker, enqueues one task for each module in one transaction, kills a worker process with SIGKILL when a
quarter is done, and reports. Exits with 1 if a task was lost.
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
PATIENCE = 120  # seconds without a result after which the run gives up


def main() -> int:
    """Run the report; returns the exit code."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="stdlib_report.", ignore_cleanup_errors=True) as folder:
        # Before the app is imported, here and in the worker: a fresh queue file for each run.
        os.environ["LITEQUEUE_BROKER_URL"] = str(Path(folder) / "stdlib_report.db")
        with running_worker(options.concurrency, Path(folder) / "worker.log") as log:
            return report(options, log)


def report(options: argparse.Namespace, log: Path) -> int:
    """Enqueue, collect, print; returns the exit code."""
    from tasks import analyse

    import litequeue

    library = Path(sysconfig.get_path("stdlib"))
    modules = find_modules(library)[: options.limit]
    print(f"litequeue {litequeue.__version__}, Python {sys.version.split()[0]}, {options.concurrency} worker processes")

    began = time.perf_counter()
    results = analyse.app.enqueue_many([analyse.s(str(path)) for path in modules])
    print(
        f"Enqueued {len(results):,} tasks, one for each module under {library}, in {time.perf_counter() - began:.2f} s."
    )

    reports, killed = collect(results, kill_at=None if options.no_kill else len(results) // 4)
    seconds = time.perf_counter() - began

    names = [str(path.relative_to(library)) for path in modules]
    print_totals(dict(zip(names, reports, strict=True)))
    return print_verdict(results, reports, seconds, killed, log)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Analyse the standard library in worker processes.")
    parser.add_argument("-c", "--concurrency", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--limit", type=int, default=None, help="analyse only the first LIMIT modules")
    parser.add_argument("--no-kill", action="store_true", help="let every worker process live")
    return parser.parse_args()


def find_modules(library: Path) -> list[Path]:
    """Every Python file of the standard library, without installed packages."""
    others = {"site-packages", "dist-packages", "__pycache__"}
    return sorted(path for path in library.rglob("*.py") if others.isdisjoint(path.relative_to(library).parts))


@contextmanager
def running_worker(concurrency: int, log: Path) -> Iterator[Path]:
    """A worker in a process of its own, as a user starts it; stopped warmly at the end."""
    command = [sys.executable, "-m", "litequeue", "-A", "app", "worker", "-c", str(concurrency), "-l", "WARNING"]
    with log.open("w") as output:
        worker = subprocess.Popen(command, cwd=HERE, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(timeout=20)
        except subprocess.TimeoutExpired:
            worker.kill()


def collect(results: list[Any], kill_at: int | None) -> tuple[list[dict[str, Any] | None], int | None]:
    """The value of every task, None where there is none; and the process that was killed."""
    from litequeue.exceptions import TimeoutError

    progress = Progress(len(results))
    reports: list[dict[str, Any] | None] = []
    killed = None
    for position, result in enumerate(results):
        if position == kill_at:
            killed = kill_a_busy_process(results[position:])
            progress.note(f"Killed worker process {killed} with SIGKILL in the middle of a task.")
        try:
            reports.append(result.get(timeout=PATIENCE, propagate=False))
        except TimeoutError:
            reports.append(None)
            break
        progress.show(position + 1)
    progress.end()
    reports.extend([None] * (len(results) - len(reports)))
    return reports, killed


def kill_a_busy_process(results: list[Any]) -> int:
    """SIGKILL the process that runs the next of `results`; returns its pid."""
    for result in results:
        while not result.ready():
            running = result.info  # of a task that runs: {"pid": ..., "hostname": ...}
            if isinstance(running, dict) and "pid" in running:
                os.kill(running["pid"], signal.SIGKILL)
                return int(running["pid"])
    raise SystemExit("no task was seen running")


def print_totals(reports: dict[str, dict[str, Any] | None]) -> None:
    """What the standard library consists of, and its ten largest modules."""
    found = {name: report for name, report in reports.items() if isinstance(report, dict)}
    python = {name: report for name, report in found.items() if report["python"]}
    print(f"\n  {len(found):>9,} files, of which {len(found) - len(python)} are not Python 3 (test data)")
    for what in ("lines", "functions", "classes", "imports"):
        print(f"  {sum(report[what] for report in python.values()):>9,} {what}")

    print(f"\n  {'the ten largest modules':44} {'lines':>7} {'functions':>10} {'classes':>8}")
    for name, report in sorted(python.items(), key=lambda item: -item[1]["lines"])[:10]:
        print(f"  {name:44} {report['lines']:>7,} {report['functions']:>10,} {report['classes']:>8,}")


def print_verdict(
    results: list[Any], reports: list[dict[str, Any] | None], seconds: float, killed: int | None, log: Path
) -> int:
    """Whether every task ended in exactly one SUCCESS; returns the exit code."""
    lost = [result.id for result in results if result.state != "SUCCESS"]
    twice = sum(1 for report in reports if isinstance(report, dict) and report["attempt"] > 1)

    print(f"\n{len(results):,} tasks in {seconds:.1f} s: {len(results) / seconds:,.0f} tasks a second.")
    if killed is not None:
        reason = "was killed while it held " + ("it" if twice == 1 else "them") if twice else "had just finished one"
        print(f"{twice} ran twice: process {killed} {reason}.")
    if not lost:
        print(f"Nothing was lost: {len(results):,} tasks enqueued, {len(results):,} SUCCESS.")
        return 0
    print(f"LOST: {len(lost)} tasks did not end in SUCCESS: {', '.join(lost[:5])} ...")
    print(f"The worker said:\n{log.read_text()}")
    return 1


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
