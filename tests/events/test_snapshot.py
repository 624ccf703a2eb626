"""Cameras, and Celery's examples of monitors with nothing changed but the import."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from litequeue.events.snapshot import Polaroid, evcam
from tests.events import eventful
from tests.events.conftest import Project, ended, wait_until


class Camera(Polaroid):
    """Keeps what it saw."""

    clear_after = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pictures: list[tuple[int, list[str]]] = []
        self.taken = threading.Event()
        self.cleaned = threading.Event()

    def on_shutter(self, state: Any) -> None:
        self.pictures.append((state.event_count, sorted(task.state for task in state.tasks.values())))
        if state.event_count:
            self.taken.set()

    def on_cleanup(self) -> None:
        self.cleaned.set()


def test_a_picture_is_taken_while_it_lasts_and_at_the_end(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(eventful.add.delay(1))
    state = app.events.State()
    receiver = app.events.Receiver(handlers={"*": state.event}, after=0)
    with Camera(state, freq=0.01, app=app) as camera:
        for _ in receiver.read():
            pass
        assert camera.taken.wait(30)
        with app.events.Dispatcher() as dispatcher:
            dispatcher.send("worker-heartbeat")
        for _ in receiver.read():
            pass
    assert ["SUCCESS"] in [tasks for _, tasks in camera.pictures]
    assert sum(count for count, _ in camera.pictures) == app.store.event_range().last
    assert state.event_count == 0


def test_no_more_pictures_than_the_rate_allows(app: Any) -> None:
    camera = Camera(app.events.State(), maxrate="1/h", app=app)
    for _ in range(5):
        camera.capture()
    assert len(camera.pictures) == 1


def test_signals_and_cleaning(app: Any) -> None:
    told: list[str] = []

    def shutter(**_: Any) -> None:
        told.append("shutter")

    def cleanup(**_: Any) -> None:
        told.append("cleanup")

    Polaroid.shutter_signal.connect(shutter)
    Polaroid.cleanup_signal.connect(cleanup)
    try:
        with Camera(app.events.State(), freq=3600, cleanup_freq=0.01, app=app) as camera:
            assert camera.cleaned.wait(30)
    finally:
        Polaroid.shutter_signal.disconnect(shutter)
        Polaroid.cleanup_signal.disconnect(cleanup)
    assert told[0] == "cleanup"
    assert told[-1] == "shutter"


def test_a_picture_that_goes_wrong_ends_nothing(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Camera):
        def on_shutter(self, state: Any) -> None:
            super().on_shutter(state)
            if len(self.pictures) == 1:
                raise RuntimeError("no film")

    with Broken(app.events.State(), freq=0.01, app=app) as camera:
        wait_until(lambda: len(camera.pictures) > 1)
    assert "A snapshot went wrong" in caplog.text


def test_evcam_as_a_function(app: Any, tmp_path: Path) -> None:
    with app.events.Dispatcher() as dispatcher:
        dispatcher.send("worker-heartbeat")
    pidfile = tmp_path / "cam.pid"
    seen: list[Any] = []

    class Once(Camera):
        def on_shutter(self, state: Any) -> None:
            if state.event_count and not seen:
                seen.append(pidfile.read_text().strip())
                _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        evcam(Once, freq=0.01, app=app, pidfile=str(pidfile), after=0)
    assert seen == [str(os.getpid())]
    assert not pidfile.exists()


MONITOR = """
from litequeue import LiteQueue

def my_monitor(app):
    state = app.events.State()

    def announce_failed_tasks(event):
        state.event(event)
        # task name is sent only with -received event, and state
        # will keep track of this for us.
        task = state.tasks.get(event['uuid'])

        print('TASK FAILED: %s[%s] %s' % (
            task.name, task.uuid, task.info(),), flush=True)

    with app.connection() as connection:
        recv = app.events.Receiver(connection, handlers={
                'task-failed': announce_failed_tasks,
                '*': state.event,
        })
        print('ready', flush=True)
        recv.capture(limit=None, timeout=None, wakeup=True)

if __name__ == '__main__':
    app = LiteQueue(broker='queue.db')
    my_monitor(app)
"""

CAMERA = """
from pprint import pformat

from litequeue.events.snapshot import Polaroid

class DumpCam(Polaroid):
    clear_after = True  # clear after flush (incl, state.event_count).

    def on_shutter(self, state):
        if not state.event_count:
            # No new events since last snapshot.
            return
        print('Workers: {0}'.format(pformat(state.workers, indent=4)))
        print('Tasks: {0}'.format(pformat(state.tasks, indent=4)))
        print('Total: {0.event_count} events, {0.task_count} tasks'.format(
            state), flush=True)
"""

MAIN = """
from litequeue import LiteQueue
from myapp import DumpCam

def main(app, freq=1.0):
    state = app.events.State()
    with app.connection() as connection:
        recv = app.events.Receiver(connection, handlers={'*': state.event})
        print('ready', flush=True)
        with DumpCam(state, freq=freq):
            recv.capture(limit=None, timeout=None)

if __name__ == '__main__':
    app = LiteQueue(broker='queue.db')
    main(app, 0.05)
"""


def start(project: Project, name: str, text: str) -> subprocess.Popen[str]:
    """A program that has its receiver."""
    (project.folder / name).write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, name], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def first(process: subprocess.Popen[str], word: str) -> str:
    """The first line that has `word`; ends the program."""
    assert process.stdout is not None
    try:
        return next(line for line in process.stdout if word in line)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_celerys_monitor_as_its_documentation_has_it(project: Project) -> None:
    project.app.store.changes()
    process = start(project, "monitor.py", MONITOR)
    result = project.send("add", 1, "x")
    assert project.run("-A", "proj", "worker", "-E", "-q", "--burst", "-c", "1").returncode == 0
    line = first(process, "TASK FAILED")
    assert f"TASK FAILED: proj.add[{result.id}]" in line
    assert "TypeError" in line


def test_celerys_camera_as_its_documentation_has_it(project: Project) -> None:
    project.app.store.changes()
    (project.folder / "myapp.py").write_text(CAMERA, encoding="utf-8")
    process = start(project, "main.py", MAIN)
    result = project.send("add", 1, 2)
    assert project.run("-A", "proj", "worker", "-E", "-q", "--burst", "-c", "1").returncode == 0
    assert f"proj.add({result.id}) SUCCESS" in first(process, result.id + ") SUCCESS")
