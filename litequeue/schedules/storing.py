"""Schedules as JSON objects, and back: what a row of the file holds.

{"type": "crontab", "expression": "30 7 * * mon-fri", "timezone": "Europe/Paris"}
{"type": "interval", "seconds": 30.0}
{"type": "solar", "event": "sunrise", "lat": 48.86, "lon": 2.35}
{"type": "at", "when": "2030-01-31T09:00:00+01:00"}
{"type": "reboot"}
{"type": "object", "class": "proj.schedules:Tide", "args": ["Brest"], "kwargs": {}}

The last is an own kind: its class is imported by name, and it is made anew from the arguments it was made from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from importlib import import_module
from typing import Any, TypeVar

from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.crontabs import crontab
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.intervals import schedule
from litequeue.schedules.polling import Foreign
from litequeue.schedules.single import at, reboot
from litequeue.schedules.sun import solar
from litequeue.schedules.zonenames import find_zone, zone_name

_registered: dict[str, type[BaseSchedule]] = {}

Kind = TypeVar("Kind", bound=type[BaseSchedule])


def register_schedule(name: str) -> Callable[[Kind], Kind]:
    """A decorator: the class is written down under `name` instead of where it is, so that it can be moved."""

    def register(cls: Kind) -> Kind:
        if not (isinstance(cls, type) and issubclass(cls, BaseSchedule)):
            raise ScheduleError(f"{cls!r} is not a kind of litequeue.schedules.BaseSchedule")
        if _registered.get(name, cls) is not cls and not _same_place(_registered[name], cls):
            raise ScheduleError(f"the name {name!r} stands for {_registered[name].__qualname__} already")
        _registered[name] = cls
        return cls

    return register


def schedule_to_json(value: BaseSchedule) -> dict[str, Any]:
    """The schedule as an object of JSON's own types; neither app nor `nowfun` are in it.

    ScheduleError where it could not be made again from that: an own kind that cannot be imported, or an argument that
    JSON does not have.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        return _write_own(value)
    written = write(value)
    if value.timezone is not None:
        written["timezone"] = zone_name(value.timezone)
    return written


def schedule_from_json(data: Mapping[str, Any]) -> BaseSchedule:
    """The schedule that `schedule_to_json` wrote; ScheduleError, whatever is wrong with it."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise ScheduleError(f"{data!r}: there is no schedule of type {kind!r}")
    try:
        return read(data)
    except ScheduleError:
        raise
    except KeyError as error:
        raise ScheduleError(f"{data!r}: a schedule of type {kind!r} has the field {error}") from error
    except Exception as error:
        raise ScheduleError(f"{data!r}: {type(error).__name__}: {error}") from error


def _write_at(value: Any) -> dict[str, Any]:
    return {"type": "at", "when": value.when.isoformat()}


def _write_interval(value: Any) -> dict[str, Any]:
    written = {"type": "interval", "seconds": value.run_every.total_seconds()}
    return {**written, "relative": True} if value.relative else written


_WRITERS: dict[type[BaseSchedule], Callable[[Any], dict[str, Any]]] = {
    crontab: lambda value: {"type": "crontab", "expression": value.expression},
    schedule: _write_interval,
    solar: lambda value: {"type": "solar", "event": value.event, "lat": value.lat, "lon": value.lon},
    at: _write_at,
    reboot: lambda value: {"type": "reboot"},
}


def _read_crontab(data: Mapping[str, Any]) -> BaseSchedule:
    return crontab.from_string(data["expression"], timezone=data.get("timezone"))


def _read_interval(data: Mapping[str, Any]) -> BaseSchedule:
    return schedule(data["seconds"], data.get("relative", False), timezone=data.get("timezone"))


_READERS: dict[str, Callable[[Mapping[str, Any]], BaseSchedule]] = {
    "crontab": _read_crontab,
    "interval": _read_interval,
    "solar": lambda data: solar(data["event"], data["lat"], data["lon"]),
    "at": lambda data: at(data["when"], timezone=data.get("timezone")),
    "reboot": lambda data: reboot(),
    "object": lambda data: _read_own(data),
}


# Own kinds


def _write_own(value: BaseSchedule) -> dict[str, Any]:
    if isinstance(value, Foreign):
        raise ScheduleError(f"{value!r} is no kind of litequeue.schedules.BaseSchedule, and cannot be written down")
    if not isinstance(value, BaseSchedule):
        raise ScheduleError(f"{value!r} is no schedule")
    cls = type(value)
    args, kwargs = value.arguments()
    kwargs = {name: item for name, item in kwargs.items() if name not in ("app", "nowfun")}
    written: dict[str, Any] = {"type": "object", "class": _address(cls)}
    if args:
        written["args"] = [_encode(item, f"{cls.__name__}: args[{number}]") for number, item in enumerate(args)]
    if kwargs:
        written["kwargs"] = {name: _encode(item, f"{cls.__name__}: {name}") for name, item in kwargs.items()}
    return written


def _read_own(data: Mapping[str, Any]) -> BaseSchedule:
    cls = _class_of(data["class"])
    args = [_decode(item) for item in data.get("args", ())]
    return cls(*args, **{name: _decode(item) for name, item in data.get("kwargs", {}).items()})


def _address(cls: type[BaseSchedule]) -> str:
    for name, registered in _registered.items():
        if registered is cls:
            return name
    address = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__":
        raise ScheduleError(
            f"{cls.__qualname__} is defined in the program itself; other processes import it: move it to a module"
        )
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise ScheduleError(f"{address} cannot be imported by that name; define the class at the top of its module")
    return address


def _class_of(address: str) -> type[BaseSchedule]:
    if address in _registered:
        return _registered[address]
    module, _, path = address.partition(":")
    if not path:
        raise ScheduleError(f"no schedule is registered as {address!r} here; import the module that registers it")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ScheduleError(f"the schedule {address} cannot be imported: {type(error).__name__}: {error}") from error
    # What stands in a row must not be able to call just anything.
    if not (isinstance(found, type) and issubclass(found, BaseSchedule)):
        raise ScheduleError(f"{address} is not a kind of litequeue.schedules.BaseSchedule")
    return found


def _same_place(one: type, other: type) -> bool:
    """Whether a module was loaded again, so that two classes are one."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_encode(item, where) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"$set": sorted((_encode(item, where) for item in value), key=repr)}
    if isinstance(value, dict) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _encode(item, where) for key, item in value.items()}
    if isinstance(value, timedelta):
        return {"$timedelta": value.total_seconds()}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, tzinfo):
        return {"$timezone": zone_name(value)}
    if isinstance(value, BaseSchedule):
        return {"$schedule": schedule_to_json(value)}
    raise ScheduleError(f"{where}: {type(value).__name__} cannot be written down")


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$set": lambda items: {_decode(item) for item in items},
    "$timedelta": lambda seconds: timedelta(seconds=seconds),
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$timezone": find_zone,
    "$schedule": schedule_from_json,
}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, Mapping):
        if len(value) == 1:
            [(key, inner)] = value.items()
            if key in _DECODERS:
                return _DECODERS[key](inner)
        return {key: _decode(item) for key, item in value.items()}
    return value
