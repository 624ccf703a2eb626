"""What five people noted down about Celery, with `litequeue` for `celery`: every command line, and the Python.

Where a note says `amqp://` or `redis://` there is a file. Nothing else is changed.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, wait_until

WORKERS = (
    "litequeue -A proj worker -l info",
    "litequeue -A proj worker -l INFO",
    "litequeue -A tasks worker --loglevel=info",
    "litequeue -A celery_conf worker --loglevel=info -c 3",
)
ONE_NODE = "litequeue multi start w1 -A proj -l info"
TEN_NODES = "litequeue multi start 10 -A proj -l info -Q:1-3 images,video -Q:4,5 data -Q default -L:4,5 debug"

FILES = {
    "proj/__init__.py": "",
    "proj/celery.py": """
from litequeue import LiteQueue

app = LiteQueue('proj',
             broker='queue.db',
             backend='queue.db',
             include=['proj.tasks'])

# Optional configuration, see the application user guide.
app.conf.update(
    result_expires=3600,
)

if __name__ == '__main__':
    app.start()
""",
    "proj/tasks.py": """
from .celery import app

@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def xsum(numbers):
    return sum(numbers)
""",
    "celeryconfig.py": """
broker_url = 'queue.db'

task_serializer = 'json'
result_serializer = 'json'
accept_content = ['json']
timezone = 'Europe/Oslo'
enable_utc = True

task_routes = {
    'tasks.add': 'low-priority'
}

task_annotations = {
    'tasks.add': {'rate_limit': '10/m'}
}
""",
    "tasks.py": """
from litequeue import LiteQueue
from litequeue.result import AsyncResult
from litequeue.utils.log import get_task_logger

app = LiteQueue('tasks')
app.config_from_object('celeryconfig')
app.conf.update(
    task_serializer='json',
    accept_content=['json'],  # Ignore other content
    result_serializer='json',
    timezone='Europe/Oslo',
    enable_utc=True,
)

logger = get_task_logger(__name__)


@app.task
def add(x, y):
    logger.info('Adding {0} + {1}'.format(x, y))
    return x + y


@app.task(name='sum-of-two-numbers')
def named(x, y):
    return x + y


@app.task
def broken(x):
    raise KeyError(x)


@app.task
def error_handler(uuid):
    result = AsyncResult(uuid)
    exc = result.get(propagate=False)
    print("Task {} raised exception".format(uuid))
    print(result.traceback)
    return [uuid, repr(exc)]
""",
    "celery_conf.py": """
from __future__ import absolute_import, unicode_literals
from litequeue import LiteQueue

app = LiteQueue('celery-demo',
             broker='queue.db',
             backend='queue.db',
             include=[
                 'celery_smoother',
             ])

# Optional configuration, see the application user guide.
app.conf.update(
    CELERY_TASK_RESULT_EXPIRES=3600,
    CELERY_TASK_SERIALIZER='pickle',
    CELERY_RESULT_SERIALIZER='pickle',
    CELERY_ACCEPT_CONTENT=['pickle', 'json']
)

if __name__ == '__main__':
    app.start()
""",
    "celery_smoother.py": """
from celery_conf import app


@app.task
def smooth(points):
    return {sum(points) / len(points)}
""",
}


class Notes:
    """A folder with the notes' projects, in which command lines are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("LITEQUEUE_")}
        self.environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.workers: list[subprocess.Popen[str]] = []

    def words(self, line: str) -> list[str]:
        """A command line as this Python runs it."""
        program, *rest = shlex.split(line)
        assert program == "litequeue"
        return [sys.executable, "-m", "litequeue", *rest]

    def run(self, line: str, text: str = "") -> str:
        """Run a command line to its end, which must be a good one; what it prints."""
        return self._run(self.words(line), text)

    def python(self, *argv: str, text: str = "") -> str:
        """Run Python, which must end well; what it prints."""
        return self._run([sys.executable, *argv], text)

    def _run(self, words: list[str], text: str) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, input=text, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def worker(self, line: str) -> subprocess.Popen[str]:
        """Start a worker by a command line, and wait until it is ready."""
        number = len(self.workers)
        log = self.folder / f"worker{number}.log"
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(
                self.words(line),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self.workers.append(process)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return "ready." in log.read_text()

        wait_until(ready, f"{line}: ready")
        return process

    def close(self) -> None:
        """End what is left."""
        for process in self.workers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    """The notes in a folder; no worker is left at the end."""
    made = Notes(tmp_path)
    yield made
    made.close()


CALLS = {
    "proj": "from proj.tasks import add\nprint(add.delay(2, 2).get(timeout=30))\n",
    "tasks": "from tasks import add\nprint(add.delay(2, 2).get(timeout=30))\n",
    "celery_conf": "from celery_smoother import smooth\nprint(smooth.delay([2.0, 6.0]).get(timeout=30))\n",
}
ANSWERS = {"proj": "4\n", "tasks": "4\n", "celery_conf": "{4.0}\n"}


@pytest.mark.parametrize("line", WORKERS)
def test_a_worker_runs_the_tasks(notes: Notes, line: str) -> None:
    module = shlex.split(line)[2]
    # A worker of `tasks` works on the declared queues only; the notes route tasks.add elsewhere.
    worker = notes.worker(line if module != "tasks" else f"{line} -Q celery,low-priority")
    assert notes.python("-c", CALLS[module]) == ANSWERS[module]
    if module == "celery_conf":
        assert json.loads(notes.run("litequeue -A celery_conf graph workers --json"))["workers"][0]["concurrency"] == 3
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_the_worker_of_the_notes_as_they_stand(notes: Notes) -> None:
    worker = notes.worker("litequeue -A tasks worker --loglevel=info")
    script = "from tasks import named\nprint(named.delay(1, 2).get(timeout=30))\n"
    assert notes.python("-c", script) == "3\n"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("litequeue help", "A task queue on one SQLite file."),
        ("litequeue worker --help", "--concurrency"),
    ],
)
def test_help(notes: Notes, line: str, shown: str) -> None:
    assert shown in notes.run(line)


@pytest.fixture
def multi(notes: Notes) -> Iterator[Callable[[str], str]]:
    """Run `litequeue multi start ...`, with small workers; all nodes are killed at the end."""
    notes.environment |= {"LITEQUEUE_WORKER_POOL": "solo"}
    started: list[str] = []

    def start(line: str) -> str:
        started.append(line)
        return notes.run(line)

    yield start
    for line in started:
        notes.run(line.replace("multi start", "multi kill"))
        wait_until(lambda: "online" not in _status(notes), "the end of the nodes")


def _status(notes: Notes) -> str:
    done = subprocess.run(
        notes.words("litequeue -A proj status -t 10"),
        cwd=notes.folder,
        env=notes.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def _online(notes: Notes, count: int) -> list[str]:
    def all_there() -> list[str]:
        names = [line.split()[1].rstrip(":") for line in _status(notes).splitlines() if line.startswith("->")]
        return names if len(names) == count else []

    names: list[str] = wait_until(all_there, f"{count} nodes")
    return sorted(name.partition("@")[0] for name in names)


def test_multi_starts_one_node(notes: Notes, multi: Callable[[str], str]) -> None:
    multi(ONE_NODE)
    assert _online(notes, 1) == ["w1"]
    assert notes.python("-c", CALLS["proj"]) == ANSWERS["proj"]
    notes.run("litequeue multi stopwait w1 -A proj -l info")
    assert "online" not in _status(notes)


def test_multi_starts_ten_nodes_with_queues_of_their_own(notes: Notes, multi: Callable[[str], str]) -> None:
    multi(TEN_NODES)
    assert _online(notes, 10) == sorted(f"celery{number}" for number in range(1, 11))
    workers = json.loads(notes.run("litequeue -A proj graph workers --json"))["workers"]
    queues = {worker["node"].partition("@")[0]: sorted(worker["queues"]) for worker in workers}
    assert queues == {
        **{f"celery{number}": ["images", "video"] for number in (1, 2, 3)},
        **{f"celery{number}": ["data"] for number in (4, 5)},
        **{f"celery{number}": ["default"] for number in range(6, 11)},
    }
    script = "from proj.tasks import add\nprint(add.apply_async((2, 2), queue='video').get(timeout=30))\n"
    assert notes.python("-c", script) == "4\n"


def test_app_start_carries_out_the_command_line(notes: Notes) -> None:
    task_id = notes.python("-c", "from proj.tasks import add; print(add.delay(2, 2).id)").strip()
    notes.python("-m", "proj.celery", "worker", "--burst", "-P", "solo")
    assert notes.python("-m", "proj.celery", "result", task_id) == "4\n"
    assert "Usage: litequeue" in notes.python("celery_conf.py")


PYTHON = """
from litequeue import chain, chord, group
from proj.celery import app
from proj.tasks import add, mul, xsum

# The three ways to call, results
result = add.delay(4, 4)
assert result.get(timeout=30) == 8
assert result.ready()
assert result.successful() and not result.failed()
assert result.state == 'SUCCESS'
assert result.id
assert result.traceback is None
assert result.get(timeout=1, propagate=False) == 8
later = add.apply_async((2, 2), queue='lopri', countdown=10)
assert later.state == 'PENDING'
assert add(2, 2) == 4
assert add.apply_async(args=[1], kwargs={'y': 2}).get(timeout=30) == 3
assert app.AsyncResult('this-id-does-not-exist').state == 'PENDING'
assert app.send_task('proj.tasks.add', (2, 5)).get(timeout=30) == 7

# Signatures
signature = add.signature((2, 2), countdown=10)
assert signature.options == {'countdown': 10}
s1 = add.s(2, 8)
assert s1.delay().get(timeout=30) == 10
s2 = add.s(2)
assert s2.delay(8).get(timeout=30) == 10

# Canvas
assert chain(add.s(2, 2), add.s(4), add.s(8))().get(timeout=30) == 16
assert group(add.s(i, i) for i in range(10))().get(timeout=30) == [2 * i for i in range(10)]
assert chord((add.s(i, i) for i in range(10)), xsum.s())().get(timeout=30) == 90
assert xsum.map([[1], [1, 2]]).delay().get(timeout=30) == [1, 3]
assert add.starmap([(2, 2), (4, 4)]).delay().get(timeout=30) == [4, 8]
items = zip(range(1000), range(1000))
chunks = add.chunks(items, 10)().get(timeout=30)
assert len(chunks) == 100 and chunks[1] == [2 * i for i in range(10, 20)]

# Callbacks
linked = add.apply_async((2, 2), link=add.s(16))
assert linked.get(timeout=30) == 4
assert linked.children[0].get(timeout=30) == 20
print('all of it')
"""


def test_the_python_of_the_notes(notes: Notes) -> None:
    notes.worker("litequeue -A proj worker -l INFO")
    assert notes.python("-", text=PYTHON) == "all of it\n"


ERRORS = """
from litequeue.result import AsyncResult
from tasks import add, app, broken, error_handler, named

assert named.name == 'sum-of-two-numbers'
assert add.rate_limit == '10/m'
assert app.conf.timezone == 'Europe/Oslo'
result = add.delay(1, 2)
assert result.get(timeout=30) == 3
assert result.queue == 'low-priority'
failed = broken.apply_async(('k',), link_error=error_handler.s())
try:
    failed.get(timeout=30)
except KeyError as exc:
    assert exc.args == ('k',)
assert failed.failed() and failed.state == 'FAILURE'
assert 'KeyError' in failed.traceback
print(failed.children[0].results[0].get(timeout=30) if hasattr(failed.children[0], 'results')
      else failed.children[0].get(timeout=30))
"""


def test_configuration_and_error_callbacks_of_the_notes(notes: Notes) -> None:
    notes.worker("litequeue -A tasks worker --loglevel=info -Q celery,low-priority")
    assert "\"KeyError('k')\"" in notes.python("-", text=ERRORS)
    log = (notes.folder / "worker0.log").read_text(encoding="utf-8")
    assert "Adding 1 + 2" in log
    assert "raised exception" in log
