"""The examples and the README do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
ENVIRONMENT.pop("LITEQUEUE_BROKER_URL", None)


def run(*arguments: str, cwd: Path, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run a Python program of a user in the folder `cwd`, on a terminal of that encoding."""
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding=encoding,
        timeout=100,
    )


@contextmanager
def worker(app: str, cwd: Path) -> Iterator[None]:
    """`litequeue -A app worker` in the folder `cwd`."""
    command = [sys.executable, "-m", "litequeue", "-A", app, "worker", "-c", "2", "-l", "WARNING"]
    process = subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_the_quickstart_gets_its_sum(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "quickstart", tmp_path / "quickstart")
    with worker("tasks", tmp_path / "quickstart"):
        called = run("call.py", cwd=tmp_path / "quickstart")
    assert called.returncode == 0, called.stderr
    assert "2 + 3 = 5" in called.stdout
    assert (tmp_path / "quickstart" / "quickstart.db").exists()


def test_the_stdlib_report_loses_nothing_when_a_process_is_killed(tmp_path: Path) -> None:
    """The demo on a part of the standard library: a process dies in the middle, every task ends in SUCCESS."""
    shutil.copytree(EXAMPLES / "stdlib_report", tmp_path / "report")
    report = run("run.py", "--limit", "240", cwd=tmp_path / "report")
    assert report.returncode == 0, report.stdout + report.stderr
    sent = re.search(r"Sent (\d+) tasks in one transaction", report.stdout)
    assert sent
    assert "one for each of 240 modules" in report.stdout
    assert re.search(r"Killed worker process \d+ with SIGKILL", report.stdout)
    assert f"Nothing was lost: {sent[1]} tasks sent, {sent[1]} SUCCESS, each sum complete." in report.stdout
    assert "the ten largest modules" in report.stdout
    assert "100 %  240 of 240" in report.stdout


def test_the_stdlib_report_draws_its_workflow(tmp_path: Path) -> None:
    """A chord of chords: the packages' groups, folded, each with its sum, and the sum of all at the end."""
    shutil.copytree(EXAMPLES / "stdlib_report", tmp_path / "report")
    report = run("run.py", "--limit", "200", "--no-kill", cwd=tmp_path / "report")
    assert report.returncode == 0, report.stdout + report.stderr
    drawing = report.stdout.partition("The workflow, as the file has it:")[2].split("\n\n")[1].splitlines()
    assert re.fullmatch(r"  group of \d+: all ended", drawing[0])
    assert any(re.fullmatch(r"  [├└]─ group of \d+: all ended", line) for line in drawing)
    assert any(re.fullmatch(r"  [│ ]  tasks\.package  SUCCESS", line) for line in drawing)
    assert any(re.fullmatch(r"  [│ ]  └─ ×\d+ more: \d+ SUCCESS", line) for line in drawing)
    assert drawing[-2:] == ["  ↓", "  tasks.library  SUCCESS"]
    assert not {"PENDING", "STARTED", "FAILURE"} & set(report.stdout.split())


def test_the_stdlib_report_leaves_no_file_behind_and_needs_no_utf_8(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "stdlib_report", tmp_path / "report")
    before = {path.name for path in (tmp_path / "report").iterdir()}
    report = run("run.py", "--limit", "20", "--no-kill", cwd=tmp_path / "report", encoding="ascii")
    assert report.returncode == 0, report.stdout + report.stderr
    assert "`- tasks.analyse  SUCCESS" in report.stdout or "`- x17 more: 17 SUCCESS" in report.stdout
    assert {path.name for path in (tmp_path / "report").iterdir()} - {"__pycache__"} == before


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def named_blocks(page: Path) -> dict[str, str]:
    """The Python blocks whose first line is a file name: `# tasks.py`."""
    found = {}
    for block in blocks(page, "python"):
        first = re.match(r"# (\w+\.py)\n", block)
        if first:
            found[first[1]] = block
    return found


def test_the_readme_example_runs_as_written(tmp_path: Path) -> None:
    """The files that the README shows are written out and run; its console block says what comes out."""
    files = named_blocks(ROOT / "README.md")
    assert {"tasks.py", "call.py"} <= set(files)
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with worker("tasks", tmp_path):
        called = run("call.py", cwd=tmp_path)
    assert called.returncode == 0, called.stderr

    (console,) = (block for block in blocks(ROOT / "README.md", "console") if "$ python call.py" in block)
    expected = console.split("$ python call.py\n")[1].split("$ ")[0].splitlines()
    assert called.stdout.splitlines() == [line for line in expected if line]


def test_every_python_block_of_the_readme_compiles() -> None:
    found = blocks(ROOT / "README.md", "python")
    assert found
    for block in found:
        compile(block, "README.md", "exec")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(EXAMPLES.rglob("README.md"))], ids=lambda page: page.parent.name
)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert target in targets


def test_the_station_measures_by_the_clock(tmp_path: Path) -> None:
    """A worker fires what the code declares, and what a program adds meanwhile; what was missed is made up for."""
    folder = tmp_path / "scheduled"
    shutil.copytree(EXAMPLES / "scheduled", folder)
    with worker("app", folder):
        visit = run("visit.py", cwd=folder)
    assert visit.returncode == 0, visit.stderr
    first, second, third = visit.stdout.splitlines()
    assert (first, second) == ("rain is on", "rain has ended after 3 runs")
    assert re.fullmatch(r"next nights: 04:00 CES?T, 04:00 CES?T", third)
    before = (folder / "station.log").read_text().count("wind")
    time.sleep(2)
    with worker("app", folder):
        deadline = time.monotonic() + 30
        while (folder / "station.log").read_text().count("wind") < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    winds = [line.split()[0] for line in (folder / "station.log").read_text().splitlines() if "wind" in line]
    assert len(winds) == len(set(winds))
