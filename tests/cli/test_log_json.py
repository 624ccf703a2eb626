"""The log as JSON, and what tasks log and print, with real workers of every pool."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, Project, wait_until

TASKS = """

import asyncio
import logging

from litequeue.utils.log import get_task_logger

app.conf.beat_schedule = {"quick": {"task": "proj.add", "schedule": 0.1, "args": (1, 2)}}


@app.task(log_lines=10)
def tell(text):
    get_task_logger(__name__).warning("%s as a task", text)
    logging.getLogger("elsewhere").warning("%s elsewhere", text, extra={"order": 7})
    logging.getLogger("elsewhere").info("%s quietly", text)
    print(text, "printed")
    print(text, "and no end of line", end="")


@app.task(log_lines=10)
def tell_and_hold(path):
    logging.getLogger("elsewhere").info("holding")
    Path(path).touch()
    while True:
        time.sleep(0.01)


@app.task(log_lines=10)
async def tell_later(text):
    await asyncio.sleep(0)
    get_task_logger(__name__).warning("%s as a task", text)
"""


@pytest.fixture
def telling(project: Project) -> Project:
    """A project whose tasks say something."""
    file = project.folder / "proj.py"
    file.write_text(file.read_text(encoding="utf-8") + TASKS, encoding="utf-8")
    return project


def entries(text: str) -> list[dict[str, Any]]:
    """The lines of a log, of which each must be an object."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(entry, dict) for entry in found)
    return found


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_each_line_of_a_workers_log_is_an_object_that_names_its_task(telling: Project, pool: str) -> None:
    worker = telling.worker("--log-json", "-P", pool, "-c", "1", "-n", "w1@box", "--no-beat").said("ready.")
    first, later = telling.send("tell", "one"), telling.send("tell_later", "two")
    first.get(timeout=PATIENCE)
    later.get(timeout=PATIENCE)
    assert worker.stop() == 0
    said = {entry["message"]: entry for entry in entries(worker.err)}
    for text, result in (("one as a task", first), ("one elsewhere", first), ("one printed", first)):
        assert (said[text]["task_name"], said[text]["task_id"]) == ("proj.tell", result.id)
    assert (said["two as a task"]["task_name"], said["two as a task"]["task_id"]) == ("proj.tell_later", later.id)
    assert said["one elsewhere"]["order"] == 7
    assert {entry["node"] for entry in said.values()} == {"w1@box"}
    assert "task_id" not in next(entry for text, entry in said.items() if text.endswith("ready."))
    succeeded = next(entry for text, entry in said.items() if text.startswith(f"Task proj.tell[{first.id}] succeeded"))
    assert succeeded["task_id"] == succeeded["data"]["id"] == first.id


def test_a_log_file_of_children_is_json_by_the_setting(telling: Project) -> None:
    worker = telling.worker("-f", "log.json", "-c", "1", "--no-beat", "log_json=true")
    telling.send("tell", "one").get(timeout=PATIENCE)
    assert worker.stop() == 0
    said = [entry["message"] for entry in entries((telling.folder / "log.json").read_text(encoding="utf-8"))]
    assert "one as a task" in said
    worker = telling.worker("--no-log-json", "--burst", "-c", "1", "log_json=true")
    assert worker.ended() == 0 and "{" not in worker.err.splitlines()[0]


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_the_plain_log_names_the_task_in_every_pool(telling: Project, pool: str) -> None:
    worker = telling.worker("-P", pool, "-c", "1", "--no-beat")
    first, later = telling.send("tell", "one"), telling.send("tell_later", "two")
    first.get(timeout=PATIENCE)
    later.get(timeout=PATIENCE)
    assert worker.stop() == 0
    assert f"proj.tell[{first.id}]: one as a task" in worker.err
    assert f"proj.tell_later[{later.id}]: two as a task" in worker.err


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_is_kept_does_not_hang_on_the_level_of_the_workers_log(telling: Project, pool: str) -> None:
    worker = telling.worker("-l", "WARNING", "-P", pool, "-c", "1", "--no-beat")
    result = telling.send("tell", "one")
    result.get(timeout=PATIENCE)
    assert worker.stop() == 0
    assert [(line.level, line.message) for line in result.logs] == [
        ("WARNING", "one as a task"),
        ("WARNING", "one elsewhere"),
        ("INFO", "one quietly"),
        ("WARNING", "one printed"),
        ("WARNING", "one and no end of line"),
    ]
    assert "one elsewhere" in worker.err
    assert "quietly" not in worker.err and "succeeded" not in worker.err and "received" not in worker.err


def test_a_cold_stop_leaves_what_the_task_had_said(telling: Project) -> None:
    worker = telling.worker("-P", "solo", "--no-beat")
    result = telling.send("tell_and_hold", str(telling.folder / "held"))
    wait_until((telling.folder / "held").exists)
    worker.signal(signal.SIGQUIT).ended()
    assert [line.message for line in result.logs] == ["holding"]
    assert result.engine_state == "ready"


def test_beat_logs_json(telling: Project, tmp_path: Path) -> None:
    log = telling.folder / "beat.json"
    command = telling.command("-A", "proj", "-q", "beat", "-l", "INFO", "--log-json", "-f", str(log), "-n", "b1@box")
    with subprocess.Popen(command, cwd=telling.folder, env=telling.environment) as process:
        try:
            wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").count("\n") > 1)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    found = entries(log.read_text(encoding="utf-8"))
    assert {entry["node"] for entry in found} == {"b1@box"}
    assert all(entry["logger"].startswith("litequeue") for entry in found)
