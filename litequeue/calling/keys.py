"""The keys of a call: of how many tasks that share something one may run at once, and which there may be only once.

`keys_of` reads the options of a call, and of its task where the call says nothing. What the keys mean is decided in the
file (`core.keys`); what is impossible is an error here, at the call, or at the declaration of the task
(`check_declared`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from litequeue.calling.options import KEYS, seconds_of
from litequeue.core import keys as rules
from litequeue.core import state
from litequeue.core.json_codec import CALL, dumps
from litequeue.core.records import Keys
from litequeue.core.type_tags import TYPE_KEY, VALUE_KEY
from litequeue.exceptions import EncodeError

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.calling.message import Place
    from litequeue.task import Task

_STATES: Final[dict[str, tuple[str, ...]]] = {
    **{name: (name,) for name in state.ALL},
    "PENDING": (state.WAITING, state.SCHEDULED, state.READY),
    "RECEIVED": (state.READY,),
    "STARTED": (state.RUNNING,),
    "RETRY": (state.SCHEDULED, state.READY),
    "SUCCESS": (state.SUCCEEDED,),
    "FAILURE": (state.FAILED,),
    "REVOKED": (state.REVOKED,),
    "IGNORED": (state.IGNORED,),
}
"""What `unique_states` may name, and the states of a row that it means."""
_OF_UNIQUE: Final = ("unique_window", "unique_states", "on_conflict")
"""Options that say how a unique key is held."""
_UNORDERED: Final = frozenset({"set", "frozenset"})


def keys_of(
    app: LiteQueue,
    name: str,
    args: Any,
    kwargs: Any,
    options: Mapping[str, Any],
    task: Task | None,
    place: Place | None = None,
) -> Keys | None:
    """The keys of a call that stands at `place`; None: it has none. What a callable key raises is not caught.

    TypeError, ValueError: a key, or what is said of it, cannot be.
    """
    takes_input, sole = (0, True) if place is None else (place.takes_input, place.sole)
    wish = _wish(name, options, task)
    call = _Call(app, name, args, kwargs, options, task, takes_input)
    key = call.text("concurrency_key", wish["concurrency_key"])
    limit = None if key is None else _limit(name, wish["concurrency_limit"])
    unique, window = call.unique_key(wish) if sole else None, None
    hold = 0
    if unique is not None:
        window = _window(name, wish["unique_window"])
        hold = _hold(name, wish["unique_states"], wish["on_conflict"], window)
    return None if key is None and unique is None else Keys(key, limit, unique, hold, window)


def check_declared(name: str, declared: Mapping[str, Any], whole: bool = True) -> None:
    """TypeError, ValueError: what is declared for the keys of the task `name` cannot be.

    Not `whole`: the task may have more of the options from elsewhere, so that what one needs another for is not looked
    at.
    """
    wish = {option: declared.get(option) for option in KEYS}
    _check_unique(name, wish)
    if whole:
        _check_needs(name, wish, wish)
    for option in ("concurrency_key", "unique_key"):
        if not callable(wish[option]):
            _check_key(name, option, wish[option])
    _limit(name, wish["concurrency_limit"])
    _hold(name, wish["unique_states"], wish["on_conflict"], _window(name, wish["unique_window"]))


# What is wished


def _wish(name: str, options: Mapping[str, Any], task: Task | None) -> dict[str, Any]:
    """Every option of `KEYS`, as the call says, else the task. Of the call one of `unique` and `unique_key` is enough
    to put both of the task's aside."""
    own = {option: options[option] for option in KEYS if option in options}
    wish = {option: getattr(task, option, None) for option in KEYS}
    if "unique" in own or "unique_key" in own:
        wish["unique"] = wish["unique_key"] = None
    wish.update(own)
    _check_unique(name, wish)
    _check_needs(name, wish, own)
    return wish


def _check_unique(name: str, wish: Mapping[str, Any]) -> None:
    unique, unique_key = wish["unique"], wish["unique_key"]
    if unique is not None and not isinstance(unique, bool):
        raise TypeError(f"{name}: unique must be True or False, not {unique!r}; a key of your own is unique_key=")
    if unique and unique_key is not None:
        raise ValueError(
            f"{name}: unique=True makes the unique key of the arguments, and unique_key gives another; give one of them"
        )


def _check_needs(name: str, wish: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """ValueError: one of `own`, options that were given in one place, needs another that is not among `wish`."""
    if own.get("concurrency_limit") is not None and wish["concurrency_key"] is None:
        raise ValueError(f"{name}: concurrency_limit needs a concurrency_key: the tasks that are counted together")
    if not wish["unique"] and wish["unique_key"] is None:
        for option in _OF_UNIQUE:
            if own.get(option) is not None:
                raise ValueError(f"{name}: {option} needs a key that is to be unique: give unique=True or unique_key")


def _limit(name: str, value: Any) -> int:
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: concurrency_limit must be a whole number, 1 or more, not {value!r}")
    if not 1 <= value < 1 << 63:
        raise ValueError(f"{name}: concurrency_limit must be 1 or more, not {value}: with it the task would never run")
    return value


def _window(name: str, value: Any) -> float | None:
    if value is None:
        return None
    window = seconds_of(f"{name}: unique_window", value)
    if window <= 0:
        raise ValueError(f"{name}: unique_window must be more than 0 seconds, not {value!r}")
    return window


def _hold(name: str, states: Any, on_conflict: Any, window: float | None) -> int:
    """The bits of `unique_hold`."""
    conflict = rules.EXISTING if on_conflict is None else on_conflict
    if not isinstance(conflict, str) or conflict not in rules.CONFLICTS:
        raise ValueError(f"{name}: on_conflict={conflict!r}: give one of {', '.join(map(repr, rules.CONFLICTS))}")
    if states is not None:
        return rules.hold(_state_names(name, states), conflict)
    return rules.hold((), conflict) | (rules.UNTIL_ENDED if window is None else rules.ALSO_SUCCEEDED)


def _state_names(name: str, states: Any) -> list[str]:
    if isinstance(states, str) or not isinstance(states, Collection):
        raise TypeError(f"{name}: unique_states must be a list of names of states, not {states!r}")
    if not states:
        raise ValueError(f"{name}: unique_states is empty, so that the key would never be held; name some states")
    found: list[str] = []
    for each in states:
        if not isinstance(each, str) or each not in _STATES:
            raise ValueError(f"{name}: unique_states: there is no state {each!r}; give some of {', '.join(_STATES)}")
        found += _STATES[each]
    return found


def _check_key(name: str, option: str, key: Any) -> None:
    """TypeError, ValueError: it is neither None nor text that the file can keep."""
    if key is None:
        return
    if not isinstance(key, str):
        raise TypeError(f"{name}: {option} must be text, or a callable of the arguments that returns it, not {key!r}")
    if not key:
        raise ValueError(f"{name}: {option} is empty text; for no key give None")
    if "\0" in key or rules.PARKED in key:
        raise ValueError(f"{name}: {option} has a character in it that the file does not keep in keys: {key!r}")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name}: {option} has a lone surrogate in it, which is no text: {key!r}") from None


# The keys


class _Call:
    """A call whose arguments its keys are made of."""

    def __init__(
        self,
        app: LiteQueue,
        name: str,
        args: Any,
        kwargs: Any,
        options: Mapping[str, Any],
        task: Task | None,
        takes_input: int,
    ) -> None:
        self._app = app
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._options = options
        self._task = task
        self._takes_input = takes_input

    def text(self, option: str, key: Any) -> str | None:
        """A key that is given as text, as a callable, or as None."""
        if callable(key):
            self._check_known(option)
            key = key(*self._args, **self._kwargs)
            if key is not None and not isinstance(key, str):
                raise TypeError(f"{self._name}: {option} returned {key!r}; it must return text, or None for no key")
        _check_key(self._name, option, key)
        return key  # type: ignore[no-any-return]

    def unique_key(self, wish: Mapping[str, Any]) -> str | None:
        """The unique key; None: the call has none."""
        if not wish["unique"]:
            return self.text("unique_key", wish["unique_key"])
        self._check_known("unique")
        return f"{self._name}:{hashlib.sha256(self._fingerprint()).hexdigest()}"

    def _check_known(self, option: str) -> None:
        if self._takes_input:
            raise ValueError(
                f"{self._name}: {option} is made of the arguments, and here the first of them is what another task "
                f"will return; give a key as text, as in .set({option if option != 'unique' else 'unique_key'}=...), "
                f"None for no key, or make the signature immutable"
            )

    def _fingerprint(self) -> bytes:
        """The arguments as bytes that are the same for calls that do the same."""
        call = self._bound()
        try:
            text = dumps(call, CALL)
        except EncodeError:  # only the call's own serializer knows such values
            codec = self._app.codec
            data = codec.encode_call(*call, self._options.get("serializer"), None).data
            return data if isinstance(data, bytes) else data.encode()
        return json.dumps(json.loads(text, object_hook=_ordered), sort_keys=True).encode("utf-8", "surrogatepass")

    def _bound(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments by the names of their parameters, without those that are as their defaults."""
        header = None if self._task is None else self._task.__header__
        if header is not None:
            signature = _signature(header)
            try:
                bound = signature.bind(*self._args, **self._kwargs).arguments
            except TypeError:  # unchecked (`typing=False`): the worker will fail it
                pass
            else:
                parameters = signature.parameters
                given = {name: value for name, value in bound.items() if not _is(value, parameters[name].default)}
                return [], dict(sorted(given.items()))
        return list(self._args), dict(sorted(self._kwargs.items()))


def _signature(header: Callable[..., None]) -> Any:
    """The parameters of a task; kept with the function that checks its arguments."""
    found = header.__dict__.get("signature")
    if found is None:
        import inspect

        found = header.__dict__["signature"] = inspect.signature(header)
    return found


def _is(value: Any, default: Any) -> bool:
    if value is default:
        return True
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:
        return False


def _ordered(read: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with the members of a set in one order."""
    if read.get(TYPE_KEY) in _UNORDERED and isinstance(read.get(VALUE_KEY), list):
        read[VALUE_KEY] = sorted(read[VALUE_KEY], key=lambda member: json.dumps(member, sort_keys=True))
    return read
