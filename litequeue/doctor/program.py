"""The app: its settings and its tasks."""

from __future__ import annotations

import warnings

from litequeue.doctor.findings import Case, Verdict, error, listed, ok, warning
from litequeue.utils.words import counted


def settings(case: Case) -> Verdict:
    """Whether the settings can be read, mean something, and are spelled as they are now."""
    from litequeue.config.settings import SETTINGS

    conf = case.app.conf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is said below
        case.app.derived  # noqa: B018  # what follows from them: codecs, routes, time zone
        given = [name for name in conf.without_defaults() if name in SETTINGS]
    vain = [name for name in given if SETTINGS[name].kind == "broker"]
    old = conf.deprecated_settings
    if vain:
        return warning(
            f"Settings that have no effect, because there is no broker: {listed(vain)}.",
            "Leave them out; docs/settings.md says what each was for.",
        )
    if old:
        new = listed(f"{name} (now {_canonical(name)})" for name in old)
        return warning(f"Older spellings of settings: {new}.", "Write the new names; both mean the same.")
    return ok(f"{counted(len(given), 'setting')} given, all known and valid.")


def _canonical(name: str) -> str | None:
    from litequeue.config.settings import canonical_name

    return canonical_name(name)


def tasks(case: Case) -> Verdict | None:
    """Whether the app has tasks, whose names are their own."""
    if not case.knows_tasks:
        return None
    own = own_tasks(case)
    if case.clashes:
        return error(
            f"Two tasks claim one name: {' '.join(case.clashes)}", "Give one of them another name with `name=`."
        )
    main = [name for name in own if name.startswith("__main__.")]
    if main:
        return warning(
            f"Tasks whose names begin with __main__, which a worker does not find: {listed(main)}.",
            "Give the app a name, LiteQueue('proj'), or move the tasks to a module that is imported.",
        )
    if not own:
        return warning(
            "The app has no tasks.", "Name the modules with tasks in `imports`, or call app.autodiscover_tasks()."
        )
    return ok(f"{counted(len(own), 'task')} can be imported.")


def own_tasks(case: Case) -> list[str]:
    """The names of the tasks that are not litequeue's own."""
    return [name for name in case.app.tasks if not name.startswith(("celery.", "litequeue."))]
