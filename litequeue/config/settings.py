"""An app's settings: `app.conf`.

A value comes from the first of these that has one: the environment (`LITEQUEUE_BROKER_URL` and
`LITEQUEUE_RESULT_BACKEND`), what the program set on `app.conf` or gave to the app, the configuration source
(`config_from_object`), `add_defaults`, and the table in `litequeue.config.table`. The source is read when a
setting is first read.

An unknown name is an error that suggests the nearest one. Celery's older spellings mean the same as the new. A
program's own data goes into `conf.user`, a plain dict.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from litequeue.config.checks import check_value, parse_text
from litequeue.config.table import OLD_NAMES, SETTINGS, Setting
from litequeue.exceptions import CDeprecationWarning, ImproperlyConfigured, LiteQueueWarning

__all__ = ("SETTINGS", "NoEffectWarning", "Setting", "Settings", "as_seconds", "canonical_name", "parse_assignment")

ENVIRONMENT = {"broker_url": "LITEQUEUE_BROKER_URL", "result_backend": "LITEQUEUE_RESULT_BACKEND"}
"""Settings that the environment overrides, read each time."""

_PREFIXES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
_MISSING: Any = object()


class NoEffectWarning(LiteQueueWarning):
    """A setting was given that only has meaning with a message broker or another result store."""


class _Found(NamedTuple):
    """What a source says: values under their names, and the older spellings it used."""

    values: dict[str, Any]
    old: list[str]


def canonical_name(name: str) -> str | None:
    """The name of the setting that `name` spells, old or new; None where there is none."""
    if name in SETTINGS:
        return name
    if name in OLD_NAMES:
        return OLD_NAMES[name]
    rest = name.removeprefix("CELERY_").lower()
    return rest if name.startswith("CELERY_") and rest in SETTINGS else None


def as_seconds(value: float | timedelta | None) -> float | None:
    """Seconds of a duration setting; None, for ever, where it is None or 0."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return float(value) if value else None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Name and value of `worker.concurrency=4` or `worker_concurrency=4`; lists and dictionaries are JSON."""
    spelled, equals, value = text.partition("=")
    spelled = spelled.strip()
    name = canonical_name(spelled) or canonical_name(spelled.lower().replace(".", "_"))
    if not equals:
        raise ImproperlyConfigured(f"{text!r} sets nothing: write name=value")
    if name is None:
        raise ImproperlyConfigured(unknown_setting(spelled))
    return name, check_value(SETTINGS[name], parse_text(SETTINGS[name], value))


def unknown_setting(name: str) -> str:
    """The sentence for a name that is no setting, with the nearest that is."""
    lower = name.lower()
    near = [lower] if lower in SETTINGS else []
    if not near:
        import difflib

        near = difflib.get_close_matches(name, [*SETTINGS, *OLD_NAMES], n=1) or difflib.get_close_matches(
            lower, SETTINGS, n=1
        )
    advice = f"did you mean {near[0]!r}?" if near else "docs/settings.md lists them."
    return f"there is no setting {name!r}; {advice} A program's own data goes into conf.user."


class Settings(Mapping[str, Any]):
    """The settings of one app, as attributes and as items; reading one costs what an attribute costs."""

    user: dict[str, Any]
    """The program's own data; litequeue never looks into it."""
    revision: int
    """Grows with every change, so that what was computed from the settings can be kept until then."""

    def __init__(self, changes: Mapping[str, Any] | None = None, configure: Callable[[], None] | None = None) -> None:
        self.__dict__.update(user={}, revision=0)
        self._lock = threading.RLock()
        self._configure = configure
        self._changes: dict[str, Any] = {}
        self._source: dict[str, Any] = {}
        self._defaults: list[Mapping[str, Any] | Callable[[], Mapping[str, Any]]] = []
        self._own: dict[str, Any] = {}  # copies of mutable defaults, kept because programs add to them
        self._old_names: set[str] = set()
        self._warned: set[str] = set()
        if changes:
            self.update(changes)

    # Reading

    def __getattr__(self, name: str) -> Any:
        # Only reached for a setting that is not in the instance's dict yet, or an older spelling.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(unknown_setting(name)) from None

    def __getitem__(self, key: str) -> Any:
        name = canonical_name(key) if isinstance(key, str) else None
        if name is None:
            raise KeyError(key)
        with self._lock:
            self.finalize()
            if name in ENVIRONMENT:
                return os.environ.get(ENVIRONMENT[name]) or self._effective(name)
            value = self.__dict__[name] = self._effective(name)
            return value

    def _effective(self, name: str) -> Any:
        given = self._given(name)
        if given is not _MISSING:
            return given
        default = SETTINGS[name].default
        if isinstance(default, dict):
            return self._own.setdefault(name, dict(default))
        return default

    def _given(self, name: str) -> Any:
        for layer in (self._changes, self._source, *self._evaluated_defaults()):
            if name in layer:
                return layer[name]
        return _MISSING

    def _evaluated_defaults(self) -> list[Mapping[str, Any]]:
        for position, layer in enumerate(self._defaults):
            if callable(layer):
                self._defaults[position] = self._accept(layer())
        return self._defaults  # type: ignore[return-value]  # every callable has been replaced

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and canonical_name(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *SETTINGS})

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Settings: {self.table()!r}>"

    def first(self, *keys: str) -> Any:
        """The first of these settings that is not None."""
        return next((value for value in map(self.get, keys) if value is not None), None)

    def get_by_parts(self, *parts: str) -> Any:
        """The setting whose name is made of `parts`, as `("worker", "pool")`."""
        return self["_".join(part for part in parts if part)]

    def value_set_for(self, key: str) -> bool:
        """Whether anybody gave this setting a value."""
        name = canonical_name(key)
        self.finalize()
        with self._lock:
            return name is not None and self._given(name) is not _MISSING

    def retention(self) -> tuple[float | None, float | None]:
        """Seconds a success and a failure are kept; None: for ever."""
        success, failure = self.result_expires, self.result_failure_expires
        return as_seconds(success), as_seconds(success if failure is None else failure)

    # Changing

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name == "user":
            object.__setattr__(self, name, value)
        else:
            self.update({name: value})

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delattr__(self, name: str) -> None:
        if canonical_name(name) is None:
            raise AttributeError(unknown_setting(name))
        del self[name]

    def __delitem__(self, key: str) -> None:
        name = canonical_name(key)
        if name is None:
            raise KeyError(key)
        with self._lock:
            self._changes.pop(name, None)
            self._forget_read()

    def update(self, *args: Any, **values: Any) -> None:
        """Set several settings; all are checked before the first is set. ImproperlyConfigured names what is wrong."""
        accepted = self._accept(dict(*args, **values))
        with self._lock:
            self._changes.update(accepted)
            self._forget_read()

    def setdefault(self, key: str, value: Any = None) -> Any:
        """Set a setting that nobody gave a value; return the value it has then."""
        if not self.value_set_for(key):
            self[key] = value
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Take back what the program set, and return the value the setting had."""
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Take back everything the program set on this object; source and defaults stay."""
        with self._lock:
            self._changes.clear()
            self._own.clear()
            self._forget_read()

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Values to use where nothing else gives one; a function is called when a setting is first read."""
        layer = defaults if callable(defaults) else self._accept(defaults)
        with self._lock:
            self._defaults.append(layer)
            self._forget_read()

    def load(self, source: Any, namespace: str | None = None) -> None:
        """Read the configuration source: a mapping, module, class or object; it replaces the one before.

        With `namespace="CELERY"` only names that begin with `CELERY_` are read.
        """
        accepted = self._accept(source, namespace)
        with self._lock:
            self._source = accepted
            self._forget_read()

    def _accept(self, source: Any, namespace: str | None = None) -> dict[str, Any]:
        found = read_source(source, namespace)
        checked = {name: check_value(SETTINGS[name], value) for name, value in found.values.items()}
        self._old_names.update(found.old)
        for name in checked:
            if SETTINGS[name].kind == "broker" and name not in self._warned:
                self._warned.add(name)
                message = f"setting {name!r} has no effect: {SETTINGS[name].sentence}"
                warnings.warn(message, NoEffectWarning, stacklevel=users_frame())
        return checked

    def _forget_read(self) -> None:
        self.__dict__["revision"] += 1
        for name in SETTINGS.keys() & self.__dict__.keys():
            del self.__dict__[name]

    # The source, when first read

    def configure_with(self, configure: Callable[[], None] | None) -> None:
        """Call `configure` when a setting is next read; it calls `load()`."""
        with self._lock:
            self._configure = configure
            self._forget_read()

    def finalize(self) -> Settings:
        """Read the source now, if that has not been done."""
        with self._lock:
            configure, self._configure = self._configure, None
            if configure is None:
                return self
            try:
                configure()
            except AttributeError as exc:
                # Out of an attribute's reading it would look like a missing setting.
                self._configure = configure
                raise ImproperlyConfigured(f"the configuration cannot be read: {exc}") from exc
            except BaseException:
                self._configure = configure
                raise
        return self

    # Showing

    @property
    def changes(self) -> dict[str, Any]:
        """What the program set on this object."""
        return dict(self._changes)

    @property
    def deprecated_settings(self) -> list[str] | None:
        """The older spellings that were used, or None."""
        return sorted(self._old_names) or None

    def maybe_warn_deprecated_settings(self) -> bool:
        """Warn of each older spelling that was used; whether there was one."""
        self.finalize()
        for old in sorted(self._old_names):
            message = f"setting {old!r} is an older spelling of {canonical_name(old)!r}"
            warnings.warn(message, CDeprecationWarning, stacklevel=users_frame())
        return bool(self._old_names)

    def without_defaults(self) -> dict[str, Any]:
        """The settings that somebody gave a value."""
        return {name: self[name] for name in SETTINGS if self.value_set_for(name) or _in_environment(name)}

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings as a dict, passwords and keys hidden unless `censored` is False."""
        values = dict(self) if with_defaults else self.without_defaults()
        values["deprecated_settings"] = self.deprecated_settings
        if not censored:
            return values
        from litequeue.utils.censor import censor

        return censor(values)

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The same as text, a line a setting."""
        import pprint

        table = self.table(with_defaults, censored)
        if table["deprecated_settings"] is None:
            del table["deprecated_settings"]
        return "\n".join(f"{name}: {pprint.pformat(value, width=50)}" for name, value in table.items())

    # Copies

    def copy(self) -> Settings:
        """Settings of their own with the same values."""
        clone = Settings.__new__(Settings)
        clone.__setstate__(self.__getstate__())
        return clone

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            self.finalize()
            return {
                "user": dict(self.user),
                "_changes": dict(self._changes),
                "_source": dict(self._source),
                "_defaults": [dict(layer) for layer in self._evaluated_defaults()],
                "_own": {name: dict(value) for name, value in self._own.items()},
                "_old_names": set(self._old_names),
                "_warned": set(self._warned),
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, revision=0, _lock=threading.RLock(), _configure=None)


def read_source(source: Any, namespace: str | None = None) -> _Found:
    """The settings in a mapping, module, class or object, under their names; unchecked.

    A mapping may hold nothing else. In a module or object these are its own business: private names, modules,
    functions, classes, and UPPER_CASE constants that do not look like a setting. ImproperlyConfigured: an unknown name,
    or two spellings of one setting that disagree.
    """
    found = _Found({}, [])
    spelled: dict[str, str] = {}
    for key, value in _entries(source):
        name = _name_in(source, key, value, namespace)
        if name is None:
            continue
        if name in found.values and not _same(found.values[name], value):
            raise ImproperlyConfigured(
                f"setting {name!r} is given two values, as {spelled[name]!r} and as {key!r}: keep one of them"
            )
        found.values[name] = value
        spelled[name] = key
        if key in OLD_NAMES:
            found.old.append(key)
    if "timezone" not in found.values:
        _read_django_timezone(source, found)
    return found


def _entries(source: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(source, Mapping):
        yield from source.items()
        return
    for key in dir(source):
        if not key.startswith("_"):
            yield key, getattr(source, key)


def _name_in(source: Any, key: Any, value: Any, namespace: str | None) -> str | None:
    """The setting that `key` of this source spells; None: it is none of ours."""
    if not isinstance(key, str):
        raise ImproperlyConfigured(f"a setting's name is text, not {key!r}")
    if key == "TIME_ZONE":
        return None
    if namespace:
        prefix = namespace.rstrip("_") + "_"
        if not key.startswith(prefix):
            return None
        rest = key.removeprefix(prefix).lower()
        name = rest if rest in SETTINGS else OLD_NAMES.get(key)
    else:
        name = canonical_name(key)
    if name is None and not (not isinstance(source, Mapping) and _is_private_matter(key, value)):
        raise ImproperlyConfigured(unknown_setting(key))
    return name


def _is_private_matter(key: str, value: Any) -> bool:
    if isinstance(value, (ModuleType, FunctionType, BuiltinFunctionType, type)) or callable(value):
        return True
    return key.isupper() and not key.startswith(_PREFIXES) and key.lower() not in SETTINGS


def _read_django_timezone(source: Any, found: _Found) -> None:
    zone = source.get("TIME_ZONE") if isinstance(source, Mapping) else getattr(source, "TIME_ZONE", None)
    if zone:
        found.values["timezone"] = zone


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _in_environment(name: str) -> bool:
    return name in ENVIRONMENT and bool(os.environ.get(ENVIRONMENT[name]))


def users_frame() -> int:
    """The stack level, for a warning, of the first caller outside litequeue."""
    here = os.path.dirname(os.path.dirname(__file__)) + os.sep
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((here, "<frozen")):
        level, frame = level + 1, frame.f_back
    return level
