"""Finding apps and modules by name, also from another process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.app.loading import (
    AppLoader,
    app_by_reference,
    find_app,
    import_default_modules,
    reference_of,
    symbol_by_name,
)
from litequeue.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parents[2]
APP = "from litequeue import LiteQueue\n{name} = LiteQueue({main!r}, broker='queue.db', set_as_current=False)\n"

MakeApp = Callable[..., LiteQueue]
Project = Callable[..., None]

kept = LiteQueue("kept", broker="kept.db", set_as_current=False, task_default_queue="first")


@kept.task(shared=False)
def remember() -> str:
    return "remembered"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Writes modules into the working directory: `project({"proj/__init__.py": "..."})`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def app_text(main: str, name: str = "app") -> str:
    return APP.format(name=name, main=main)


class TestFindApp:
    """What `-A` may name."""

    @pytest.mark.parametrize(
        ("files", "spec"),
        [
            ({"proj.py": app_text("x")}, "proj"),
            ({"proj.py": app_text("x", "celery")}, "proj"),
            ({"proj.py": app_text("x", "litequeue")}, "proj"),
            ({"proj.py": app_text("x", "odd_name")}, "proj"),
            ({"proj.py": app_text("x", "odd_name")}, "proj:odd_name"),
            ({"proj.py": app_text("x", "odd_name")}, "proj.odd_name"),
            ({"proj/__init__.py": app_text("x")}, "proj"),
            ({"proj/__init__.py": "", "proj/app.py": app_text("x")}, "proj"),
            ({"proj/__init__.py": "", "proj/celery.py": app_text("x")}, "proj"),
            ({"proj/__init__.py": "", "proj/litequeue.py": app_text("x", "queue")}, "proj"),
            ({"proj/__init__.py": "from proj.app import app", "proj/app.py": app_text("x")}, "proj"),
            ({"proj/__init__.py": "", "proj/deep.py": app_text("x")}, "proj.deep"),
            ({"proj/__init__.py": "", "proj/deep.py": "class A:\n    pass\n" + app_text("x", "A.q")}, "proj.deep:A.q"),
        ],
    )
    def test_found(self, project: Project, files: dict[str, str], spec: str) -> None:
        project(files)
        assert find_app(spec).main == "x"

    def test_the_attribute_app_comes_first(self, project: Project) -> None:
        project({"proj.py": app_text("other", "celery") + app_text("x") + app_text("third", "zzz")})
        assert find_app("proj").main == "x"

    def test_a_submodule_is_found_although_the_package_imports_litequeue(self, project: Project) -> None:
        project({"proj/__init__.py": "import litequeue\n", "proj/app.py": app_text("x")})
        assert find_app("proj").main == "x"

    def test_the_app_itself(self, app: LiteQueue) -> None:
        assert find_app(app) is app

    def test_declared_tasks_are_not_made_by_the_search(self, project: Project) -> None:
        project({"proj.py": app_text("x", "queue") + "@queue.task\ndef a():\n    pass\n"})
        assert not find_app("proj").registry

    def test_a_working_directory_of_its_own(self, project: Project, tmp_path: Path) -> None:
        project({"elsewhere/proj_w.py": app_text("x")})
        assert find_app("proj_w", str(tmp_path / "elsewhere")).main == "x"

    @pytest.mark.parametrize(
        ("files", "spec", "text"),
        [
            ({}, "nowhere", "there is no module 'nowhere'"),
            ({}, "nowhere.at.all:app", "there is no module 'nowhere'"),
            ({"proj.py": ""}, "proj", "module 'proj' has no LiteQueue app; name it `app`, or write `-A proj:name`"),
            ({"proj.py": ""}, "proj:app", "module 'proj' has no attribute 'app'"),
            ({"proj.py": "app = 5"}, "proj:app", "is no LiteQueue app but an int"),
            ({"proj.py": app_text("a", "one") + app_text("b", "two")}, "proj", r"has several apps \(one, two\)"),
        ],
    )
    def test_not_found(self, project: Project, files: dict[str, str], spec: str, text: str) -> None:
        project(files)
        with pytest.raises(ImproperlyConfigured, match=text):
            find_app(spec)

    @pytest.mark.parametrize("spec", ["proj", "proj:app", "pkg"])
    def test_what_a_module_raises_is_not_hidden(self, project: Project, spec: str) -> None:
        broken = "import no_such_dependency\n"
        project({"proj.py": broken, "pkg/__init__.py": "", "pkg/app.py": broken})
        with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
            find_app(spec)


class TestModules:
    """Importing the modules with tasks."""

    def test_autodiscover(self, project: Project, app: LiteQueue) -> None:
        project(
            {
                "shop/__init__.py": "",
                "shop/tasks.py": "",
                "shop/jobs.py": "",
                "web/__init__.py": "",
                "web/apps.py": "class WebConfig:\n    pass\n",
                "web/tasks.py": "",
            }
        )
        assert app.autodiscover_tasks(["shop", "web"], force=True) == ["shop.tasks", "web.tasks"]
        assert app.autodiscover_tasks(["shop", "web"], related_name="jobs", force=True) == ["shop.jobs"]
        assert app.autodiscover_tasks(["shop"], related_name=None, force=True) == ["shop"]
        assert app.autodiscover_tasks(["shop.WebConfig"], force=True) == ["shop.tasks"]
        assert app.autodiscover_tasks(lambda: ["web"], force=True) == ["web.tasks"]
        assert app.autodiscover_tasks(None, force=True) == []
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            app.autodiscover_tasks(["no_such_package"], force=True)

    def test_autodiscover_waits_for_the_worker(self, project: Project, app: LiteQueue, make_app: MakeApp) -> None:
        project({"shop/__init__.py": "", "shop/tasks.py": ""})
        app.autodiscover_tasks(["shop"])
        assert "shop.tasks" not in sys.modules
        import_default_modules(make_app("another"))
        assert "shop.tasks" not in sys.modules
        import_default_modules(app)
        assert "shop.tasks" in sys.modules

    def test_a_module_that_fails_is_not_hidden(self, project: Project, app: LiteQueue) -> None:
        project({"shop/__init__.py": "", "shop/tasks.py": "1 / 0"})
        app.autodiscover_tasks(["shop"])
        with pytest.raises(ZeroDivisionError):
            import_default_modules(app)

    def test_imports_and_include(self, project: Project, make_app: MakeApp) -> None:
        project({"one.py": "", "two.py": ""})
        import_default_modules(make_app(imports=["one"], include=["two"]))
        assert {"one", "two"} <= set(sys.modules)
        with pytest.raises(ImproperlyConfigured, match="names 'three', and there is no module 'three'"):
            import_default_modules(make_app(include=["three"]))

    def test_symbols(self) -> None:
        assert symbol_by_name("json:dumps") is json.dumps
        assert symbol_by_name("json.dumps") is json.dumps
        assert symbol_by_name("json") is json
        assert symbol_by_name("json:decoder.JSONDecoder") is json.JSONDecoder
        with pytest.raises(ImproperlyConfigured, match="no attribute 'nothing'"):
            symbol_by_name("json.nothing")


class TestAnotherProcess:
    """Apps, tasks and loaders that are pickled."""

    def test_an_app_is_pickled_by_its_name(self) -> None:
        assert reference_of(kept) == f"{__name__}:kept"
        assert app_by_reference(f"{__name__}:kept") is kept
        assert pickle.loads(pickle.dumps(kept)) is kept

    def test_a_task_is_pickled_by_its_name(self) -> None:
        kept.set_current()
        task = remember._get_current_object()
        assert pickle.loads(pickle.dumps(remember)) is task
        assert pickle.loads(pickle.dumps(task)) is task

    def test_an_app_in_no_module_cannot_be_found(self, app: LiteQueue) -> None:
        with pytest.raises(ImproperlyConfigured, match="is not a name in any module"):
            pickle.dumps(app)
        with pytest.raises(ImproperlyConfigured, match="pool='threads'"):
            app.start_worker(pool="prefork")

    def test_a_queue_in_memory_cannot_be_shared(self) -> None:
        memory = LiteQueue("m", broker=":memory:", set_as_current=False)
        globals()["memory"] = memory
        try:
            with pytest.raises(ImproperlyConfigured, match="in memory cannot be shared with other processes"):
                memory.start_worker(pool="prefork")
        finally:
            del globals()["memory"]
            memory.close()

    def test_a_loader_takes_along_what_was_set_since(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        program = (
            "import sys, pickle\n"
            "from tests.app.test_loading import kept\n"
            "loader = pickle.load(sys.stdin.buffer)\n"
            "runtime = loader.load()\n"
            "from litequeue import current_app\n"
            "assert runtime.app is kept and current_app == kept\n"
            "known = 'tests.app.test_loading.remember' in runtime.registry\n"
            "print(kept.store.path, kept.conf.task_default_queue, known)\n"
        )
        try:
            kept.conf.update(task_default_queue="second", broker_url="second.db", task_routes=[lambda *a, **k: None])
            pickled = pickle.dumps(AppLoader(kept))
            done = subprocess.run(
                [sys.executable, "-c", program], input=pickled, capture_output=True, cwd=ROOT, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr.decode()
            assert done.stdout.decode().split() == [str(tmp_path / "second.db"), "second", "True"]
        finally:
            kept.conf.clear()
            kept.conf.update(broker_url="kept.db", task_default_queue="first")
            kept.close()

    def test_preload(self, make_app: MakeApp) -> None:
        assert AppLoader(kept).preload() == ["litequeue.app.loading", __name__]

    def test_the_runtime(self, make_app: MakeApp, app: LiteQueue) -> None:
        app.conf.update(result_expires=60, result_failure_expires=None, max_worker_deaths=7)
        runtime = app.runtime()
        assert (runtime.app, runtime.registry, runtime.store) == (app, app.tasks, app.store)
        assert (runtime.success_retention, runtime.failure_retention, runtime.max_deaths) == (60, 60, 7)
        forever = make_app(result_expires=None, result_failure_expires=5).runtime()
        assert (forever.success_retention, forever.failure_retention) == (None, 5)


SCRIPT = """
import sys
from litequeue import LiteQueue

app = LiteQueue("script", broker="script.db", durability="normal")

@app.task
def square(x):
    return x * x

@app.task
def where():
    import os
    return os.getpid()

if __name__ == "__main__":
    import os
    with app.start_worker(pool="prefork", concurrency=2):
        squares = [square.delay(i).get(timeout=30) for i in range(3)]
        print(square.name, squares, where.delay().get(timeout=30) != os.getpid())
"""


def test_a_script_runs_its_own_tasks_in_child_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "program.py"],
        capture_output=True,
        cwd=tmp_path,
        timeout=90,
        check=False,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "script.square [0, 1, 4] True"


def test_start_carries_out_a_command_line(app: LiteQueue, capsys: Any) -> None:
    assert app.start(["--version"]) == 0
    assert capsys.readouterr().out.strip()
    with pytest.raises(ValueError, match="sub-command 'worker'"):
        app.worker_main(["purge"])
