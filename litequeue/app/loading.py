"""Finding what a name stands for: the app of `-A`, the modules with tasks, settings; and an app in another process."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app import current as local
from litequeue.app.base import LiteQueue
from litequeue.app.registry import MAIN_MODULES
from litequeue.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from litequeue.task import Task
    from litequeue.worker.runtime import Runtime, WorkerOptions

APP_NAMES = ("app", "celery", "litequeue")
"""The attributes, and with `litequeue` first the submodules, in which an app is looked for."""


# Names


def symbol_by_name(name: str) -> Any:
    """What `pkg.mod:attribute`, `pkg.mod.attribute` or `pkg.mod` names. ImproperlyConfigured: nothing."""
    module_name, colon, attribute = name.partition(":")
    if colon:
        return _attribute(import_from_workdir(module_name), attribute)
    try:
        return import_from_workdir(name)
    except ModuleNotFoundError as exc:
        parent, _, attribute = name.rpartition(".")
        if not parent or not _is_missing(exc, name):
            raise
    return _attribute(import_from_workdir(parent), attribute)


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ImproperlyConfigured(f"module {module.__name__!r} has no attribute {path!r}") from None
    return found


def import_from_workdir(name: str) -> ModuleType:
    """Import a module; the working directory is looked through first."""
    workdir = os.getcwd()
    if workdir not in sys.path and "" not in sys.path:
        sys.path.insert(0, workdir)
    return importlib.import_module(name)


def _is_missing(exc: ModuleNotFoundError, name: str) -> bool:
    """Whether the module `name` itself, or a package it is in, is what does not exist."""
    return exc.name is not None and (name == exc.name or name.startswith(exc.name + "."))


def import_settings(name: str, silent: bool = False) -> Any:
    """The module or object with settings that `name` names; with `silent`, nothing where there is none."""
    try:
        return symbol_by_name(name)
    except ModuleNotFoundError as exc:
        if not _is_missing(exc, name.partition(":")[0]):
            raise
        if silent:
            return {}
        hint = "; write it without .py" if name.endswith(".py") else ""
        raise ImproperlyConfigured(
            f"there is no module {exc.name!r} to read the settings from ({name!r}){hint}"
        ) from exc


# The app of -A


def find_app(spec: str | LiteQueue, workdir: str | None = None) -> LiteQueue:
    """The app that `-A` names: a module, a package, or `module:attribute`.

    In a module it is the attribute `app`, `celery` or `litequeue`; in a package also the submodule `litequeue`, `app`
    or `celery`; else the one app that there is. What a module raises when it is imported is raised.
    ImproperlyConfigured: there is no such module, or no app in it.
    """
    if isinstance(spec, LiteQueue):
        return spec
    if workdir is not None and os.path.abspath(workdir) not in sys.path:
        sys.path.insert(0, os.path.abspath(workdir))
    try:
        found = symbol_by_name(spec)
    except ModuleNotFoundError as exc:
        if not _is_missing(exc, spec.partition(":")[0]):
            raise
        raise ImproperlyConfigured(
            f"there is no module {exc.name!r} (looked for in {os.getcwd()} and on sys.path)"
        ) from exc
    found = local.maybe_evaluate(found)
    if isinstance(found, ModuleType) and ":" not in spec:
        return _app_in(found)
    if not isinstance(found, LiteQueue):
        raise ImproperlyConfigured(f"{spec!r} is no LiteQueue app but {_article(type(found).__name__)}")
    return found


def _app_in(module: ModuleType) -> LiteQueue:
    app = _search(module)
    if app is not None:
        return app
    raise ImproperlyConfigured(
        f"module {module.__name__!r} has no LiteQueue app; name it `app`, or write `-A {module.__name__}:name`"
    )


def _search(module: ModuleType) -> LiteQueue | None:
    """The app in a module, or in the submodules of a package that usually hold it."""
    for name in APP_NAMES:
        value = local.maybe_evaluate(getattr(module, name, None))
        if isinstance(value, LiteQueue):
            return value
    for name in ("litequeue", "app", "celery") if hasattr(module, "__path__") else ():
        submodule = _import_if_there(f"{module.__name__}.{name}")
        found = _search(submodule) if submodule is not None else None
        if found is not None:
            return found
    # By type() and not isinstance(): that would make every task that is declared in the module.
    apps = {id(value): name for name, value in vars(module).items() if issubclass(type(value), LiteQueue)}
    if len(apps) > 1:
        names = ", ".join(apps.values())
        raise ImproperlyConfigured(
            f"module {module.__name__!r} has several apps ({names}); write `-A {module.__name__}:name`"
        )
    return next((getattr(module, name) for name in apps.values()), None)


def _import_if_there(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name == name:
            return None
        raise


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


# Modules with tasks


def autodiscover(packages: Iterable[str], related_name: str | None) -> list[str]:
    """Import `related_name` of each package that has it; returns the names of the modules."""
    found = [_related_module(package, related_name) for package in packages]
    return [module.__name__ for module in found if module is not None]


def _related_module(package: str, related_name: str | None) -> ModuleType | None:
    try:
        module = import_from_workdir(package)
        if not related_name:
            return module
    except ModuleNotFoundError as exc:
        # `package` may be the name of a class in a package, as in Django's INSTALLED_APPS.
        parent = package.rpartition(".")[0]
        if not parent or exc.name != package:
            raise
        import_from_workdir(parent)
        package = parent
    return _import_if_there(f"{package}.{related_name}")


def import_default_modules(app: LiteQueue) -> None:
    """Import what a worker must know: what `autodiscover_tasks` finds, `imports` and `include`."""
    for discover in app.discoveries:
        discover()
    for _receiver, answer in signals.import_modules.send(sender=app):
        if isinstance(answer, Exception):
            raise answer
    for name in (*app.conf.imports, *app.conf.include):
        try:
            import_from_workdir(name)
        except ModuleNotFoundError as exc:
            if not _is_missing(exc, name):
                raise
            raise ImproperlyConfigured(
                f"imports or include names {name!r}, and there is no module {exc.name!r}"
            ) from exc


# An app in another process


def reference_of(app: LiteQueue) -> str:
    """`module:attribute` by which another process finds `app`. ImproperlyConfigured: it is in no module."""
    candidates = [
        (module_name in MAIN_MODULES, f"{module_name}:{name}")
        for module_name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and not module_name.startswith("litequeue.") and _can_be_imported(module)
        for name, value in list(vars(module).items())
        if value is app
    ]
    if not candidates:
        raise ImproperlyConfigured(
            f"{app!r} is not a name in any module, so no other process can import it; assign it to a module's "
            "variable, or use pool='threads' or pool='solo'"
        )
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _can_be_imported(module: ModuleType) -> bool:
    """False for a program that came from no file: an interactive session, `python -c`."""
    return module.__name__ not in MAIN_MODULES or getattr(module, "__file__", None) is not None


def app_by_reference(reference: str) -> LiteQueue:
    """The app that `reference_of` named."""
    return find_app(reference)


def task_by_name(name: str, module: str | None) -> Task:
    """The task `name` of the current app, or of any app here that has it; its module is imported first."""
    if module is not None and module not in sys.modules:
        importlib.import_module(module)
    current = local.get_current_app()
    for app in (current, *local.active_apps()):
        if name in app.tasks:
            return app.tasks[name]
    return current.tasks[name]


def runtime(app: LiteQueue, eager: bool = False) -> Runtime:
    """What a worker runs the tasks of `app` with; with `eager`, the file is not opened."""
    from litequeue.utils.log import mlevel
    from litequeue.worker.runtime import Runtime

    success_retention, failure_retention = app.conf.retention()
    return Runtime(
        app=app,
        registry=app.tasks,
        store=local.Proxy(lambda: app.store) if eager else app.store,
        codec=app.codec,
        result_codec=app.result_codec,
        success_retention=success_retention,
        failure_retention=failure_retention,
        max_deaths=app.conf.max_worker_deaths,
        task_log_level=mlevel(app.conf.task_log_level),
        timezone=app.timezone,
        make_beat=functools.partial(_make_beat, app),
    )


def _make_beat(app: LiteQueue, **options: Any) -> Any:
    return app.Beat(**options)


class AppLoader:
    """Builds the runtime of an app inside a worker's process; `worker.runtime.Loader`.

    In the process it was made in it has the app itself. Pickled, it has the name by which the app is imported, and what
    the program set on `app.conf` since.
    """

    def __init__(self, app: LiteQueue) -> None:
        self.app = app
        self._is_copy = False

    def load(self) -> Runtime:
        """Import the modules with tasks, and return the runtime."""
        app = self.app
        if self._is_copy:
            app.set_current()
            app.set_default()
        import_default_modules(app)
        app.finalize()
        return runtime(app)

    def set_up_logging(self, options: WorkerOptions) -> None:
        """Set up the log handlers of this process."""
        from litequeue.utils import log

        log.setup(options.loglevel, options.logfile, hostname=options.node, **options.log)

    def preload(self) -> list[str]:
        """The app's module and those with tasks, for the fork server; a program itself is not imported twice."""
        module = reference_of(self.app).partition(":")[0]
        names = (module, *self.app.conf.imports, *self.app.conf.include)
        return ["litequeue.app.loading", *(name for name in names if name not in MAIN_MODULES)]

    def __getstate__(self) -> dict[str, Any]:
        store = self.app.store
        if store.path == ":memory:":
            raise ImproperlyConfigured(
                "a queue in memory cannot be shared with other processes; give the app a file, or use pool='threads' "
                "or pool='solo'"
            )
        changes = {name: value for name, value in self.app.conf.changes.items() if _is_plain(value)}
        return {
            "reference": reference_of(self.app),
            "changes": {**changes, "broker_url": store.path},
            "path": list(sys.path),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        _extend_path(state["path"])
        self.app = app_by_reference(state["reference"])
        self.app.conf.update(state["changes"])
        self._is_copy = True


def _extend_path(path: Sequence[str]) -> None:
    sys.path.extend(entry for entry in path if entry not in sys.path)


def _is_plain(value: Any) -> bool:
    """Whether a value may go to another process as it is; functions and the like are there when the app is imported."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, bytes, bool, int, float, timedelta))
