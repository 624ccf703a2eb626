"""Settings: names old and new, values, sources, and what is shown of them."""

from __future__ import annotations

import importlib.util
import pickle
import re
import threading
import types
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from litequeue.config import NoEffectWarning, Settings, as_seconds, canonical_name, parse_assignment
from litequeue.config.checks import CHECKS, check_value
from litequeue.config.table import OLD_NAMES, SECTIONS, SETTINGS
from litequeue.exceptions import CDeprecationWarning, ImproperlyConfigured

ROOT = Path(__file__).parent.parent

OTHER_DEFAULTS = {
    "task_acks_late",
    "worker_pool_start_method",
    "worker_proc_alive_timeout",
    "worker_autoscaler",
    "beat_scheduler",
}
"""Where litequeue's default differs from Celery's on purpose."""


def celery_settings() -> list[list[str]]:
    lines = (Path(__file__).parent / "celery_settings.txt").read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITEQUEUE_BROKER_URL", raising=False)
    monkeypatch.delenv("LITEQUEUE_RESULT_BACKEND", raising=False)


@pytest.fixture
def conf() -> Settings:
    return Settings()


# The table


def test_every_setting_of_celery_is_declared_under_both_its_names() -> None:
    assert len(celery_settings()) == 207
    for name, old, _ in celery_settings():
        assert name in SETTINGS, name
        assert OLD_NAMES[old] == name


def test_defaults_are_celerys_except_where_the_documentation_says_so() -> None:
    import datetime

    for name, _, default in celery_settings():
        if name not in OTHER_DEFAULTS:
            assert SETTINGS[name].default == eval(default, {"datetime": datetime, "inf": float("inf")}), name


def test_every_declaration_is_complete_and_its_default_passes_its_own_check() -> None:
    for setting in SETTINGS.values():
        assert setting.sentence.strip(), setting.name
        assert setting.kind in {"needed", "nice", "own", "broker"}
        assert setting.check in CHECKS or setting.check.startswith("choice:")
        assert check_value(setting, setting.default) == setting.default, setting.name


def test_no_setting_hides_behind_a_method() -> None:
    assert not SETTINGS.keys() & set(dir(Settings))


def test_every_setting_with_an_effect_is_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(name for name, setting in SETTINGS.items() if setting.kind != "broker")


ALWAYS_SO = {
    "result_extended",
    "task_remote_tracebacks",
    "task_repr_maxlevels",
    "task_track_started",
    "task_send_sent_event",
    "task_reject_on_worker_lost",
    "task_retry_on_worker_lost",
    "worker_send_task_events",
    "worker_timer_precision",
}
"""Their sentences say that litequeue does it whatever their value is."""


def test_a_setting_that_nothing_reads_says_so() -> None:
    """Every setting is read somewhere in the package, or names the feature it waits for."""
    files = [path for path in (ROOT / "litequeue").rglob("*.py") if not path.name.startswith("settings_")]
    words = set(re.findall(r"\w+", "".join(path.read_text(encoding="utf-8") for path in files)))
    for name, setting in SETTINGS.items():
        if setting.kind != "broker" and not setting.feature and name not in ALWAYS_SO:
            assert name in words, name


def test_documentation_is_what_the_table_gives() -> None:
    """Run `python docs/generate_settings.py` when this fails."""
    spec = importlib.util.spec_from_file_location("generate_settings", ROOT / "docs" / "generate_settings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


# Reading and setting


def test_a_value_is_read_as_attribute_and_item_under_every_spelling(conf: Settings) -> None:
    conf.result_expires = 60
    assert conf.result_expires == conf["result_expires"] == conf.get("result_expires") == 60
    assert conf.CELERY_TASK_RESULT_EXPIRES == conf["CELERY_TASK_RESULT_EXPIRES"] == 60
    conf.CELERY_TASK_RESULT_EXPIRES = 61
    assert conf.result_expires == 61


def test_update_takes_a_mapping_pairs_and_keywords(conf: Settings) -> None:
    conf.update({"task_default_queue": "a"}, task_serializer="pickle")
    conf.update([("task_default_priority", 3)])
    assert (conf.task_default_queue, conf.task_serializer, conf.task_default_priority) == ("a", "pickle", 3)


def test_update_sets_nothing_where_one_value_is_wrong(conf: Settings) -> None:
    with pytest.raises(ImproperlyConfigured):
        conf.update(task_default_queue="a", durability="half")
    assert conf.task_default_queue == "celery"


def test_a_value_that_was_read_before_is_read_anew_after_a_change(conf: Settings) -> None:
    assert conf.task_default_queue == "celery"
    conf.task_default_queue = "a"
    assert conf.task_default_queue == "a"
    del conf.task_default_queue
    assert conf.task_default_queue == "celery"


def test_the_revision_grows_with_every_change_and_with_nothing_else(conf: Settings) -> None:
    seen = [conf.revision]
    for change in (
        lambda: conf.update(task_default_queue="a"),
        lambda: conf.load({"task_default_queue": "b"}),
        lambda: conf.add_defaults({"task_default_queue": "c"}),
        lambda: conf.configure_with(None),
        lambda: conf.pop("task_default_queue"),
        lambda: conf.clear(),
    ):
        change()
        seen.append(conf.revision)
    assert seen == sorted(set(seen))
    _ = conf.task_default_queue, conf.table(), conf.finalize()
    assert conf.revision == seen[-1]


def test_settings_are_a_mapping_of_all_settings(conf: Settings) -> None:
    assert set(conf) == set(SETTINGS) == set(dict(conf))
    assert len(conf) == len(SETTINGS)
    assert "task_routes" in conf and "CELERY_ROUTES" in conf and "no_such" not in conf and 3 not in conf
    assert conf.get("no_such", 5) == 5
    assert dict(conf.items())["task_default_queue"] == "celery"


def test_setdefault_pop_and_clear(conf: Settings) -> None:
    assert conf.setdefault("task_default_queue", "a") == "a"
    assert conf.setdefault("task_default_queue", "b") == "a"
    assert conf.pop("task_default_queue") == "a"
    assert conf.pop("task_default_queue") == "celery"
    assert conf.pop("no_such", 1) == 1
    with pytest.raises(KeyError):
        conf.pop("no_such")
    conf.update(task_default_queue="a", task_serializer="yaml")
    conf.clear()
    assert conf.changes == {} and conf.task_default_queue == "celery"


def test_a_dictionary_default_can_be_added_to_and_belongs_to_one_app(conf: Settings) -> None:
    conf.beat_schedule["hourly"] = {"task": "x"}
    conf.task_default_queue = "other"
    assert conf.beat_schedule == {"hourly": {"task": "x"}}
    assert Settings().beat_schedule == {}


def test_helpers_of_celerys_settings(conf: Settings) -> None:
    assert conf.get_by_parts("worker", "pool") == "prefork"
    assert conf.first("task_routes", "task_default_queue") == "celery"
    assert not conf.value_set_for("task_serializer")
    conf.task_serializer = "json"
    assert conf.value_set_for("CELERY_TASK_SERIALIZER")
    assert conf.finalize() is conf
    assert "task_serializer" in dir(conf)


def test_own_data_lives_in_user(conf: Settings) -> None:
    conf.user["api"] = "x"
    assert pickle.loads(pickle.dumps(conf)).user == {"api": "x"}


def test_reading_from_many_threads_while_another_changes_never_shows_an_older_value(conf: Settings) -> None:
    seen: list[list[int]] = [[] for _ in range(3)]
    stop = threading.Event()

    def read(values: list[int]) -> None:
        while not stop.is_set():
            values.append(conf.task_default_priority or 0)

    threads = [threading.Thread(target=read, args=(values,)) for values in seen]
    for thread in threads:
        thread.start()
    for number in range(200):
        conf.task_default_priority = number
        assert conf.task_default_priority == number
    stop.set()
    for thread in threads:
        thread.join()
    assert all(values == sorted(values) for values in seen)


# Unknown names


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("taks_default_queue", "task_default_queue"),
        ("task_serialiser", "task_serializer"),
        ("TASK_DEFAULT_QUEUE", "task_default_queue"),
        ("CELERY_ACCEPT_CONTENTS", "CELERY_ACCEPT_CONTENT"),
        ("worker_conccurency", "worker_concurrency"),
    ],
)
def test_an_unknown_name_is_an_error_that_suggests_the_nearest(conf: Settings, wrong: str, right: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{wrong}.*did you mean '{right}'"):
        conf.update({wrong: "x"})
    with pytest.raises(ImproperlyConfigured, match=right):
        setattr(conf, wrong, "x")
    with pytest.raises(ImproperlyConfigured, match=right):
        conf[wrong] = "x"
    with pytest.raises(ImproperlyConfigured, match=right):
        conf.load({wrong: "x"})
    with pytest.raises(AttributeError, match=right):
        getattr(conf, wrong)
    with pytest.raises(AttributeError, match=right):
        delattr(conf, wrong)
    with pytest.raises(KeyError):
        conf[wrong]
    with pytest.raises(KeyError):
        del conf[wrong]


def test_a_name_far_from_every_setting_is_an_error_without_a_suggestion(conf: Settings) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no setting 'zzzzzz'; docs/settings\.md"):
        conf.zzzzzz = 1
    with pytest.raises(ImproperlyConfigured, match="name is text"):
        conf.update({3: 4})


# Older spellings


def test_old_and_new_names_may_be_mixed(conf: Settings) -> None:
    conf.update(CELERYD_CONCURRENCY=3, task_serializer="yaml", CELERY_ACCEPT_CONTENT=["yaml"], BROKER_URL="q.db")
    assert (conf.worker_concurrency, conf.task_serializer, conf.accept_content) == (3, "yaml", ["yaml"])
    assert conf.broker_url == "q.db"
    assert conf.deprecated_settings == ["BROKER_URL", "CELERYD_CONCURRENCY", "CELERY_ACCEPT_CONTENT"]


def test_two_spellings_with_one_value_are_fine_and_with_two_are_an_error(conf: Settings) -> None:
    conf.update(task_serializer="yaml", CELERY_TASK_SERIALIZER="yaml")
    with pytest.raises(ImproperlyConfigured, match=r"'task_serializer' is given two values.*CELERY_TASK_SERIALIZER"):
        conf.update(task_serializer="yaml", CELERY_TASK_SERIALIZER="json")


def test_celery_before_a_new_name_is_understood() -> None:
    assert canonical_name("CELERY_BROKER_URL") == "broker_url"
    assert canonical_name("CELERY_TASK_ALWAYS_EAGER") == "task_always_eager"
    assert canonical_name("celery_task_always_eager") is None


def test_no_spelling_means_two_settings() -> None:
    for name in SETTINGS:
        assert OLD_NAMES.get(f"CELERY_{name.upper()}", name) == name


def test_older_spellings_can_be_warned_of(conf: Settings) -> None:
    assert not conf.maybe_warn_deprecated_settings()
    assert conf.deprecated_settings is None
    conf.CELERY_ACKS_LATE = False
    with pytest.warns(CDeprecationWarning, match="'CELERY_ACKS_LATE' is an older spelling of 'task_acks_late'"):
        assert conf.maybe_warn_deprecated_settings()


# Settings without effect


def test_a_setting_for_brokers_warns_once_and_keeps_its_value(conf: Settings) -> None:
    with pytest.warns(NoEffectWarning, match="'broker_heartbeat' has no effect: there is no connection") as caught:
        conf.broker_heartbeat = 3
        conf.broker_heartbeat = 4
        conf.update(BROKER_HEARTBEAT=5)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert conf.broker_heartbeat == 5


def test_every_setting_for_brokers_warns_and_no_other_does() -> None:
    for name, setting in SETTINGS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Settings({name: setting.default})
        assert len(caught) == (setting.kind == "broker"), name


# Values


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("task_always_eager", "true", True),
        ("task_always_eager", "0", False),
        ("task_always_eager", 1, True),
        ("task_always_eager", None, False),
        ("worker_concurrency", "4", 4),
        ("worker_concurrency", 0, None),
        ("worker_concurrency", "auto", "auto"),
        ("busy_timeout", "2.5", 2.5),
        ("busy_timeout", timedelta(minutes=1), 60.0),
        ("task_time_limit", 1.5, 1.5),
        ("task_time_limit", None, None),
        ("result_expires", None, None),
        ("result_expires", "90", 90),
        ("result_expires", timedelta(hours=1), timedelta(hours=1)),
        ("accept_content", "json", ("json",)),
        ("accept_content", ["json", "pickle"], ["json", "pickle"]),
        ("imports", "proj.tasks", ("proj.tasks",)),
        ("broker_url", Path("x") / "q.db", str(Path("x") / "q.db")),
        ("timezone", "Europe/Oslo", "Europe/Oslo"),
        ("max_payload_bytes", None, None),
        ("durability", "normal", "normal"),
        ("worker_redirect_stdouts_level", "info", "info"),
        ("task_default_priority", 255, 255),
        ("worker_pool_start_method", "spawn", "spawn"),
    ],
)
def test_values_that_mean_something_are_kept(conf: Settings, name: str, value: Any, kept: Any) -> None:
    conf[name] = value
    assert conf[name] == kept and type(conf[name]) is type(kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_always_eager", "perhaps"),
        ("task_always_eager", 2),
        ("worker_concurrency", -1),
        ("worker_concurrency", "many"),
        ("worker_concurrency", 1.5),
        ("busy_timeout", 0),
        ("busy_timeout", None),
        ("busy_timeout", "soon"),
        ("busy_timeout", float("nan")),
        ("busy_timeout", float("inf")),
        ("busy_timeout", True),
        ("result_expires", -1),
        ("result_expires", "tomorrow"),
        ("result_expires", timedelta(seconds=-1)),
        ("accept_content", 3),
        ("accept_content", [3]),
        ("broker_url", 3),
        ("task_default_queue", None),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", 3),
        ("max_payload_bytes", 0),
        ("prune_batch", None),
        ("durability", "half"),
        ("durability", ["full"]),
        ("worker_redirect_stdouts_level", "LOUD"),
        ("worker_redirect_stdouts_level", 1.5),
        ("task_default_priority", 256),
        ("task_default_priority", "high"),
        ("worker_pool_start_method", "fork"),
        ("worker_pool_start_method", "thread"),
        ("beat_schedule", [1]),
        ("result_cache_max", "lots"),
        ("worker_soft_shutdown_timeout", -1),
        ("task_repr_maxlevels", 0),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(conf: Settings, name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"setting '{name}' must be "):
        conf[name] = value
    assert conf[name] == SETTINGS[name].default


def test_retention(conf: Settings) -> None:
    assert conf.retention() == (86400.0, 86400.0)
    conf.result_failure_expires = timedelta(days=7)
    assert conf.retention() == (86400.0, 604800.0)
    conf.result_expires = None
    assert conf.retention() == (None, 604800.0)
    conf.update(result_expires=10, result_failure_expires=0)
    assert conf.retention() == (10.0, None)
    assert as_seconds(timedelta(milliseconds=500)) == 0.5


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("worker.concurrency=4", "worker_concurrency", 4),
        ("worker_concurrency=4", "worker_concurrency", 4),
        ("CELERYD_CONCURRENCY=4", "worker_concurrency", 4),
        ("task_always_eager=yes", "task_always_eager", True),
        ("accept_content=json,yaml", "accept_content", ["json", "yaml"]),
        ('accept_content=["json"]', "accept_content", ["json"]),
        ('task_routes={"a.*": "b"}', "task_routes", {"a.*": "b"}),
        ("result_expires=null", "result_expires", None),
        ("task_time_limit=null", "task_time_limit", None),
        ("broker_url=a=b.db", "broker_url", "a=b.db"),
        ("task_annotations=x", "task_annotations", "x"),
    ],
)
def test_an_assignment_on_a_command_line(text: str, name: str, value: Any) -> None:
    assert parse_assignment(text) == (name, value)


@pytest.mark.parametrize("text", ["worker.concurrency", "worker.conc=4", "worker_concurrency=four"])
def test_an_assignment_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        parse_assignment(text)


# Sources


def make_module(**names: Any) -> types.ModuleType:
    module = types.ModuleType("settings_module")
    vars(module).update(names)
    return module


def test_a_module_gives_its_settings_and_keeps_its_own_business(conf: Settings) -> None:
    conf.load(
        make_module(
            task_default_queue="a",
            CELERY_ACKS_LATE=False,
            BASE_DIR="/srv",
            pathlib=types,
            helper=lambda: 1,
            timedelta=timedelta,
            _private=1,
        )
    )
    assert conf.task_default_queue == "a" and conf.task_acks_late is False


@pytest.mark.parametrize("name", ["task_defalt_queue", "base_dir", "CELERY_NO_SUCH", "TASK_DEFAULT_QUEUE"])
def test_a_name_in_a_module_that_looks_like_a_setting_must_be_one(conf: Settings, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        conf.load(make_module(**{name: "x"}))


def test_a_class_or_an_object_is_a_source(conf: Settings) -> None:
    class Config:
        task_default_queue = "a"
        enable_utc = False

    conf.load(Config)
    assert (conf.task_default_queue, conf.enable_utc) == ("a", False)
    conf.load(Config())
    assert conf.task_default_queue == "a"


def test_a_namespace_takes_only_its_own_names_old_and_new(conf: Settings) -> None:
    source = {
        "CELERY_BROKER_URL": "q.db",
        "CELERY_TASK_RESULT_EXPIRES": 5,
        "CELERY_WORKER_CONCURRENCY": 2,
        "task_default_queue": "not taken",
        "DEBUG": True,
    }
    conf.load(source, namespace="CELERY")
    assert (conf.broker_url, conf.result_expires, conf.worker_concurrency) == ("q.db", 5, 2)
    assert conf.task_default_queue == "celery"
    conf.load({"lq_task_default_queue": "a", "celery_x": 1}, namespace="lq_")
    assert conf.task_default_queue == "a"
    with pytest.raises(ImproperlyConfigured, match="CELERY_BROKER_URLS"):
        conf.load({"CELERY_BROKER_URLS": "q.db"}, namespace="CELERY")


def test_djangos_time_zone_stands_in_for_timezone(conf: Settings) -> None:
    conf.load(make_module(TIME_ZONE="Europe/Oslo"))
    assert conf.timezone == "Europe/Oslo"
    conf.load({"TIME_ZONE": "Europe/Oslo", "CELERY_TIMEZONE": "Asia/Tokyo"}, namespace="CELERY")
    assert conf.timezone == "Asia/Tokyo"


def test_what_the_program_sets_comes_before_the_source_and_that_before_defaults(conf: Settings) -> None:
    conf.add_defaults({"task_default_queue": "default", "task_serializer": "yaml", "task_compression": "zlib"})
    conf.load({"task_default_queue": "source", "task_serializer": "pickle"})
    conf.task_default_queue = "set"
    assert (conf.task_default_queue, conf.task_serializer, conf.task_compression) == ("set", "pickle", "zlib")
    del conf.task_default_queue
    assert conf.task_default_queue == "source"


def test_defaults_from_a_function_are_made_when_first_needed(conf: Settings) -> None:
    calls: list[int] = []

    def defaults() -> dict[str, Any]:
        calls.append(1)
        return {"task_default_queue": "late"}

    conf.add_defaults(defaults)
    assert calls == []
    assert conf.task_default_queue == conf.task_default_queue == "late"
    assert conf.task_serializer == "json"
    assert calls == [1]


def test_a_new_source_replaces_the_one_before(conf: Settings) -> None:
    conf.load({"task_default_queue": "a", "task_serializer": "yaml"})
    conf.load({"task_default_queue": "b"})
    assert (conf.task_default_queue, conf.task_serializer) == ("b", "json")


def test_the_source_is_read_once_when_a_setting_is_first_read() -> None:
    calls: list[int] = []

    def configure() -> None:
        calls.append(1)
        conf.load({"task_default_queue": "a"})
        assert conf.task_default_queue == "a"  # reading inside does not begin again

    conf = Settings({"task_serializer": "yaml"}, configure)
    conf.task_compression = "zlib"
    assert calls == []
    assert (conf.task_default_queue, conf.task_serializer, conf.task_compression) == ("a", "yaml", "zlib")
    assert calls == [1]
    conf.configure_with(lambda: conf.load({"task_default_queue": "b"}))
    assert conf.task_default_queue == "b"


@pytest.mark.parametrize("error", [ImportError("no module"), AttributeError("no attribute")])
def test_a_source_that_cannot_be_read_is_an_error_at_each_reading(error: Exception) -> None:
    def configure() -> None:
        raise error

    conf = Settings(configure=configure)
    for _ in range(2):
        with pytest.raises((ImportError, ImproperlyConfigured), match="no"):
            _ = conf.task_default_queue


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch


def test_the_environment_comes_first_for_the_file(conf: Settings, environment: pytest.MonkeyPatch) -> None:
    conf.broker_url = "set.db"
    assert conf.broker_url == "set.db"
    environment.setenv("LITEQUEUE_BROKER_URL", "environment.db")
    environment.setenv("LITEQUEUE_RESULT_BACKEND", "disabled://")
    assert conf.broker_url == conf["BROKER_URL"] == "environment.db"
    assert conf.result_backend == "disabled://"
    assert conf.table()["broker_url"] == "environment.db"
    environment.delenv("LITEQUEUE_BROKER_URL")
    assert conf.broker_url == "set.db"


# Showing and copying


def test_humanize_shows_what_was_given_and_hides_secrets(conf: Settings) -> None:
    with pytest.warns(NoEffectWarning):
        conf.update(
            task_default_queue="a",
            security_key="k",
            broker_password="p",
            broker_transport_options={"api_token": "t", "deep": {"passwd": "d", 3: 4}},
            database_url="postgresql://me:secret@host/db",
        )
    text = conf.humanize()
    assert "task_default_queue: 'a'" in text and "task_serializer" not in text
    assert "secret" not in text and "postgresql://me:********@host/db" in text
    shown = conf.table()
    assert shown["security_key"] == shown["broker_password"] == "********"
    assert shown["broker_transport_options"] == {"api_token": "********", "deep": {"passwd": "********", 3: 4}}
    assert conf.table(censored=False)["security_key"] == "k"
    assert conf.security_key == "k"
    assert "secret" not in repr(conf)


def test_table_with_defaults_has_every_setting(conf: Settings) -> None:
    table = conf.table(with_defaults=True)
    assert set(table) == {*SETTINGS, "deprecated_settings"}
    assert "task_serializer: 'json'" in conf.humanize(with_defaults=True)
    conf.CELERY_ACKS_LATE = True
    assert conf.table()["deprecated_settings"] == ["CELERY_ACKS_LATE"]
    assert "CELERY_ACKS_LATE" in conf.humanize()


def test_settings_can_be_pickled_and_copied_with_everything_they_know(conf: Settings) -> None:
    conf.load({"task_default_queue": "source"})
    conf.add_defaults(lambda: {"task_compression": "zlib"})
    conf.task_serializer = "yaml"
    for other in (pickle.loads(pickle.dumps(conf)), conf.copy()):
        assert dict(other) == dict(conf)
        other.task_serializer = "json"
        assert conf.task_serializer == "yaml"
        assert other.task_default_queue == "source"


def test_settings_are_hashable_by_identity_and_equal_by_value(conf: Settings) -> None:
    assert conf == Settings() and len({conf, Settings()}) == 2
