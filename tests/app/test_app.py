"""The app: where its queue is, its settings, its tasks, and which app is current."""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

import litequeue
from litequeue import LiteQueue, current_app, current_task, shared_task
from litequeue.app import current as local
from litequeue.app.broker import broker_path
from litequeue.exceptions import DuplicateTaskNameWarning, ImproperlyConfigured, NotRegistered
from litequeue.task import Task

MakeApp = Callable[..., LiteQueue]


def greet() -> str:
    return "hello"


class TestBroker:
    """What may be written for `broker` and `backend`."""

    @pytest.mark.parametrize("url", [":memory:", "memory://", "sqlite://", "sqlite:///:memory:"])
    def test_a_queue_in_memory(self, url: str) -> None:
        assert broker_path(url) == ":memory:"

    def test_a_relative_path_is_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for url in ("a.db", "sqlite:///a.db", "./a.db"):
            assert Path(broker_path(url)) == tmp_path / "a.db"

    def test_an_absolute_path(self) -> None:
        assert broker_path("sqlite:////var/lib/my%20app.db") == "/var/lib/my app.db"
        assert broker_path("/var/lib/app.db") == "/var/lib/app.db"
        assert broker_path("~/app.db") == str(Path.home() / "app.db")

    @pytest.mark.parametrize("url", ["amqp://user:secret@host//", "redis://", "pyamqp://", "sqs://", "rpc://"])
    def test_a_message_broker_is_refused_with_what_to_write_instead(self, url: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"write the path of a file, as in broker='app.db'") as caught:
            broker_path(url)
        assert "secret" not in str(caught.value)

    def test_no_broker_is_an_error_at_the_first_use(self, make_app: MakeApp) -> None:
        app = make_app(broker=None)
        with pytest.raises(ImproperlyConfigured, match=r"LiteQueue\('proj', broker='app.db'\)"):
            _ = app.store

    def test_the_environment_names_the_file(
        self, make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LITEQUEUE_BROKER_URL", str(tmp_path / "env.db"))
        assert make_app(broker=None).store.path == str(tmp_path / "env.db")

    def test_the_folder_of_the_first_use_is_kept(
        self, make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = make_app(broker="queue.db")
        monkeypatch.chdir(tmp_path)
        assert app.store.path == str(tmp_path / "queue.db")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        app.close()
        app.conf.task_default_queue = "other"
        assert app.store.path == str(tmp_path / "queue.db")

    def test_the_backend_is_the_same_file_or_none(self, make_app: MakeApp, tmp_path: Path) -> None:
        path = str(tmp_path / "queue.db")
        for backend in (None, path, f"sqlite:///{path}"):
            assert make_app(backend=backend).results_disabled is False
        for backend in ("disabled://", "disabled", False):
            assert make_app(backend=backend).results_disabled is True

    @pytest.mark.parametrize("backend", ["rpc://", "redis://:secret@host/0", "db+sqlite:///x", "other.db"])
    def test_another_backend_is_refused(self, make_app: MakeApp, backend: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="results are kept in the queue's own file") as caught:
            _ = make_app(backend=backend).store
        assert "secret" not in str(caught.value)


class TestFile:
    """The store of an app."""

    def test_it_is_opened_when_first_needed(self, make_app: MakeApp, tmp_path: Path) -> None:
        app = make_app()
        app.task(greet)
        app.finalize()
        assert not (tmp_path / "queue.db").exists()
        assert app.store.counts() == {}
        assert (tmp_path / "queue.db").exists()

    def test_threads_share_one(self, app: LiteQueue) -> None:
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(app.store)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({id(store) for store in found}) == 1

    def test_a_closed_app_opens_it_again(self, app: LiteQueue) -> None:
        task = app.task(greet)
        first = task.delay()
        app.close()
        assert first.exists()
        assert task.delay().exists()

    def test_with_closes(self, make_app: MakeApp) -> None:
        with make_app() as app:
            result = app.task(greet).delay()
        assert result.state == "PENDING"

    def test_another_file_after_a_setting_changed(self, app: LiteQueue, tmp_path: Path) -> None:
        task = app.task(greet)
        first = task.delay()
        app.conf.broker_url = str(tmp_path / "second.db")
        assert not first.exists()
        assert task.delay().exists()
        assert app.store.path == str(tmp_path / "second.db")


class TestSettings:
    """Where settings come from, and when they are read."""

    def test_keywords_are_settings(self, make_app: MakeApp) -> None:
        app = make_app(include=["a", "b"], task_default_queue="main")
        assert list(app.conf.include) == ["a", "b"]
        assert app.conf.task_default_queue == "main"

    def test_an_unknown_setting_is_an_error(self, make_app: MakeApp) -> None:
        with pytest.raises(ImproperlyConfigured, match="task_default_queue"):
            make_app(task_default_que="main")

    def test_from_a_mapping_a_class_an_object_and_a_module(self, app: LiteQueue) -> None:
        class Config:
            task_default_queue = "of-class"

        module = types.ModuleType("settings")
        module.CELERY_DEFAULT_QUEUE = "of-module"  # type: ignore[attr-defined]
        for source, expected in [
            ({"task_default_queue": "of-dict"}, "of-dict"),
            (Config, "of-class"),
            (Config(), "of-class"),
            (module, "of-module"),
        ]:
            app.config_from_object(source)
            assert app.conf.task_default_queue == expected

    @pytest.mark.parametrize("name", ["lq_settings_mod", "lq_settings_mod:Nested", "lq_settings_mod.Nested"])
    def test_from_a_dotted_name(
        self, app: LiteQueue, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "lq_settings_mod.py").write_text(
            "task_default_queue = 'outer'\nclass Nested:\n    task_default_queue = 'inner'\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        app.config_from_object(name)
        assert app.conf.task_default_queue == ("inner" if "Nested" in name else "outer")
        sys.modules.pop("lq_settings_mod", None)

    def test_a_missing_module(self, app: LiteQueue) -> None:
        app.config_from_object("no_such_settings", silent=True)
        assert app.conf.task_default_queue == "celery"
        with pytest.raises(ImproperlyConfigured, match="no module 'no_such_settings'"):
            app.config_from_object("no_such_settings", force=True)
        with pytest.raises(ImproperlyConfigured, match=r"without \.py"):
            app.config_from_object("no_such_settings.py", force=True)

    def test_a_module_that_fails_is_not_hidden(
        self, app: LiteQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "lq_broken_settings.py").write_text("import no_such_thing_at_all\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="no_such_thing_at_all"):
            app.config_from_object("lq_broken_settings", silent=True, force=True)

    def test_a_namespace(self, app: LiteQueue) -> None:
        app.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "a", "DEBUG": True}, namespace="CELERY")
        assert app.conf.task_default_queue == "a"

    def test_from_the_environment(self, app: LiteQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "lq_env_settings.py").write_text("task_default_queue = 'of-env'\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PROJ_SETTINGS", "lq_env_settings")
        app.config_from_envvar("PROJ_SETTINGS")
        assert app.conf.task_default_queue == "of-env"
        assert app.config_from_envvar("NO_SUCH_VARIABLE", silent=True) is False
        with pytest.raises(ImproperlyConfigured, match="'NO_SUCH_VARIABLE' is not set"):
            app.config_from_envvar("NO_SUCH_VARIABLE")

    def test_the_source_is_read_when_a_setting_is_first_read(self, make_app: MakeApp) -> None:
        order: list[str] = []

        class Source:
            @property
            def task_default_queue(self) -> str:
                order.append("source")
                return "main"

        app = make_app(config_source=Source())

        @app.on_configure.connect
        def configure(**kw: Any) -> None:
            order.append("on_configure")

        @app.on_after_configure.connect
        def configured(sender: Any, source: Any, **kw: Any) -> None:
            assert sender is app
            order.append(source.task_default_queue)

        app.conf.task_default_priority = 3
        assert order == []
        assert app.conf.task_default_queue == "main"
        assert order[0] == "on_configure"
        assert order[-1] == "main"
        assert app.conf.task_default_priority == 3

    def test_what_the_program_sets_comes_before_source_and_defaults(self, app: LiteQueue) -> None:
        app.add_defaults({"task_default_queue": "default", "task_default_priority": 1, "timezone": "Europe/Oslo"})
        app.config_from_object({"task_default_queue": "source", "task_default_priority": 2})
        app.conf.update(task_default_queue="program")
        assert (app.conf.task_default_queue, app.conf.task_default_priority) == ("program", 2)
        assert app.conf.timezone == "Europe/Oslo"

    def test_defaults_may_come_late(self, app: LiteQueue) -> None:
        app.add_defaults(lambda: {"task_default_queue": "late"})
        assert app.conf.task_default_queue == "late"

    def test_calls_follow_a_setting_that_changes(self, app: LiteQueue) -> None:
        task = app.task(greet)
        assert task.delay().queue == "celery"
        app.conf.task_default_queue = "second"
        assert task.delay().queue == "second"
        app.conf.task_routes = {"*": "third"}
        assert task.delay().queue == "third"

    def test_time(self, make_app: MakeApp) -> None:
        assert make_app().timezone is UTC
        assert make_app().uses_utc_timezone()
        oslo = make_app(timezone="Europe/Oslo")
        assert str(oslo.timezone) == "Europe/Oslo"
        assert oslo.now().tzinfo is oslo.timezone
        assert not oslo.uses_utc_timezone()
        assert not make_app(enable_utc=False).uses_utc_timezone()


class TestTasks:
    """Declaring tasks, and the registry."""

    def test_a_task_is_made_when_it_is_first_used(self, app: LiteQueue) -> None:
        made: list[str] = []

        class Base(app.Task):  # type: ignore[name-defined,misc]
            @classmethod
            def on_bound(cls, bound_app: LiteQueue) -> None:
                made.append(cls.name)

        task = app.task(greet, base=Base)
        assert made == []
        assert task() == "hello"
        assert made
        assert app.tasks[task.name] is task._get_current_object()
        assert isinstance(task, Task)

    def test_finalising_makes_all(self, app: LiteQueue) -> None:
        app.task(greet, name="a")
        app.task(greet, name="b")
        finalised: list[Any] = []

        @app.on_after_finalize.connect
        def done(sender: Any, **kw: Any) -> None:
            finalised.append(sender)

        app.finalize()
        app.finalize()
        assert {"a", "b"} <= set(app.registry)
        assert finalised == [app]
        assert app.task(greet, name="c").__class__ is not local.PromiseProxy
        assert "c" in app.tasks

    def test_without_autofinalize_the_program_finalises(self, make_app: MakeApp) -> None:
        app = make_app(autofinalize=False)
        task = app.task(greet)
        with pytest.raises(RuntimeError, match=r"call app\.finalize\(\) first"):
            task.delay()
        with pytest.raises(RuntimeError):
            _ = app.tasks
        app.finalize()
        assert task.delay().exists()

    def test_names(self, make_app: MakeApp) -> None:
        app = make_app("proj")
        assert app.task(greet).name == "tests.app.test_app.greet"
        assert app.task(greet, name="mine").name == "mine"
        for module in ("__main__", "__mp_main__"):
            assert app.gen_task_name("add", module) == "proj.add"
        assert make_app(None).gen_task_name("add", "__main__") == "__main__.add"
        assert make_app(None).gen_task_name("add", "no.such.module") == "no.such.module.add"

    def test_options_become_attributes(self, app: LiteQueue) -> None:
        task = app.task(greet, max_retries=7, shade="green")
        assert (task.max_retries, task.shade) == (7, "green")

    def test_bad_arguments_of_the_decorator(self, app: LiteQueue) -> None:
        with pytest.raises(TypeError, match="takes options by name"):
            app.task("name")
        with pytest.raises(TypeError, match="takes options by name"):
            shared_task("name")

    def test_a_lambda_and_a_callable_object(self, app: LiteQueue) -> None:
        class Double:
            def __call__(self, x: int) -> int:
                return 2 * x

        assert app.task(lambda x: x + 1, name="inc")(1) == 2
        double = app.task(Double(), name="double", lazy=False)
        assert double(4) == 8
        with pytest.raises(TypeError):
            double.delay()

    def test_an_unknown_task(self, app: LiteQueue) -> None:
        with pytest.raises(NotRegistered, match="'nope': no task of that name"):
            app.tasks["nope"]
        assert "nope" not in app.tasks
        app.task(greet, name="known")
        app.tasks.unregister("known")
        with pytest.raises(NotRegistered):
            app.tasks.unregister("known")

    def test_two_functions_of_one_name(self, app: LiteQueue) -> None:
        app.task(greet, name="same", lazy=False)
        with pytest.warns(DuplicateTaskNameWarning, match="'same'.*reach the first") as caught:
            again = app.task(lambda: "other", name="same", lazy=False)
        assert caught[0].filename == __file__
        assert again() == "hello"

    def test_the_same_function_twice_is_no_matter(self, app: LiteQueue, recwarn: Any) -> None:
        assert app.task(greet, lazy=False) is app.task(greet, lazy=False)
        assert not [w for w in recwarn if w.category is DuplicateTaskNameWarning]

    def test_register_a_class(self, app: LiteQueue) -> None:
        class Hello(app.Task):  # type: ignore[name-defined,misc]
            max_retries = 9

            def run(self, name: str) -> str:
                return f"hello {name}"

        task = app.register_task(Hello)
        assert task.name.endswith("test_app.Hello")
        assert (task.max_retries, task("you"), app.tasks[task.name]) == (9, "hello you", task)
        with pytest.raises(TypeError):
            task.delay()
        with pytest.warns(DuplicateTaskNameWarning, match="takes its place"):
            other = app.register_task(Hello(), shade="blue")
        assert app.tasks[task.name] is other
        assert other.shade == "blue"  # type: ignore[attr-defined]

    def test_task_base_classes(self, make_app: MakeApp) -> None:
        class Base(Task):
            shade = "red"

        assert make_app(task_cls=Base).task(greet).shade == "red"
        assert make_app(task_cls="litequeue.task:Task").task(greet).app
        app = make_app()
        assert app.task(greet, base=Base).shade == "red"
        assert app.task(greet, base=Base, name="other").app is app

    def test_two_apps_have_tasks_of_their_own(self, make_app: MakeApp) -> None:
        first, second = make_app(), make_app()
        one, two = first.task(lambda: 1, name="t"), second.task(lambda: 2, name="t")
        assert (one(), two()) == (1, 2)
        assert (one.app, two.app) == (first, second)

    def test_a_task_is_shared_with_apps_that_are_finalised_later(self, make_app: MakeApp) -> None:
        first, second = make_app(), make_app()
        first.task(greet, name="for all")
        first.task(greet, name="for one", shared=False)
        assert second.tasks["for all"].app is second
        assert "for one" not in second.tasks

    def test_shared_tasks_belong_to_every_app(self, make_app: MakeApp) -> None:
        before = make_app()
        before.finalize()
        task = shared_task(greet)
        tuned = shared_task(name="tuned", max_retries=1)(greet)
        after = make_app()
        for app in (before, after):
            app.set_current()
            assert task.app is app
            assert task.app.conf is app.conf
            assert app.tasks["tuned"].max_retries == 1
            assert tuned.name == "tuned"
        assert task() == "hello"

    def test_annotations(self, make_app: MakeApp) -> None:
        def loudly(run: Any) -> Any:
            return lambda *args: run(*args).upper()

        class Noted:
            def annotate(self, task: type[Task]) -> Any:
                return {"shade": "blue"} if task.name == "t" else None

        app = make_app(task_annotations=[{"t": {"max_retries": 8, "@run": loudly}, "*": {"priority": 4}}, Noted()])
        task, other = app.task(greet, name="t"), app.task(greet, name="u")
        assert (task.max_retries, task.priority, task()) == (8, 4, "HELLO")
        assert (other.max_retries, other.priority, other()) == (3, 4, "hello")
        assert not hasattr(task, "shade"), "the first entry that says something of the task is used"
        assert make_app(task_annotations=Noted()).task(greet, name="t").shade == "blue"
        with pytest.raises(ImproperlyConfigured, match="no method annotate"):
            make_app(task_annotations=[3]).task(greet, lazy=False)


class TestCurrent:
    """Which app, and which task, is current."""

    def test_the_app_made_last_is_current(self, make_app: MakeApp) -> None:
        first, second = make_app(), make_app()
        assert current_app._get_current_object() is second
        first.set_current()
        assert current_app.main == "proj"
        assert current_app == first
        make_app(set_as_current=False)
        assert current_app == first

    def test_other_threads_see_it_too(self, make_app: MakeApp) -> None:
        app = make_app()
        seen: list[Any] = []

        def look() -> None:
            seen.append(current_app._get_current_object())

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [app]

    def test_the_default_app_is_current_where_none_was_made(self, make_app: MakeApp) -> None:
        default, other = make_app(), make_app()
        default.set_default()
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(current_app._get_current_object()))
        thread.start()
        thread.join()
        assert seen == [default]
        assert current_app == other

    def test_no_task_is_current_outside_of_one(self, app: LiteQueue) -> None:
        assert not current_task
        assert app.current_task is None
        assert app.current_worker_task is None

    def test_the_current_task_inside_of_one(self, app: LiteQueue) -> None:
        @app.task
        def inner() -> Any:
            assert current_task.request.called_directly
            return current_task.name, app.current_worker_task.name

        @app.task
        def outer() -> Any:
            return [current_task.name, *inner()]

        assert outer.apply().get() == [outer.name, inner.name, outer.name]


def test_the_package_has_its_names() -> None:
    for name in litequeue.__all__:
        assert getattr(litequeue, name) is not None
        assert name in dir(litequeue)
    with pytest.raises(AttributeError):
        _ = litequeue.no_such_name  # type: ignore[attr-defined]


def test_report_and_repr(app: LiteQueue) -> None:
    text = app.bugreport()
    assert litequeue.__version__ in text
    assert "broker_url" in text
    assert repr(app).startswith("<LiteQueue proj:")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_on_after_fork_is_sent_in_the_child(app: LiteQueue) -> None:
    reader, writer = os.pipe()

    @app.on_after_fork.connect
    def forked(sender: Any, **kw: Any) -> None:
        os.write(writer, b"forked" if sender is app else b"other")

    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"forked"
    os.close(reader)
