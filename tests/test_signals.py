"""Signals: who is called, for which sender, how long, and what happens when a receiver raises."""

from __future__ import annotations

import functools
import gc
import logging
import pickle
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from litequeue import signals
from litequeue.app.current import PromiseProxy, Proxy
from litequeue.signals import Signal

CELERY_SIGNALS = """
before_task_publish after_task_publish task_received task_prerun task_postrun task_success task_retry task_failure
task_internal_error task_revoked task_rejected task_unknown task_sent celeryd_init celeryd_after_setup import_modules
worker_init worker_before_create_process worker_process_init worker_process_shutdown worker_ready worker_shutdown
worker_shutting_down heartbeat_sent setup_logging after_setup_logger after_setup_task_logger beat_init
beat_embedded_init eventlet_pool_started eventlet_pool_preshutdown eventlet_pool_postshutdown eventlet_pool_apply
user_preload_options
"""


@pytest.fixture
def signal() -> Signal:
    return Signal("test", ("value",))


class Ear:
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def hear(self, sender: Any = None, value: Any = None, **_: Any) -> str:
        self.heard.append((sender, value))
        return "heard"


def test_the_signals_of_celery_exist_under_their_names() -> None:
    for name in CELERY_SIGNALS.split():
        assert getattr(signals, name).name == name
        assert name in signals.__all__


def test_every_signal_is_in_the_documentation_and_only_those() -> None:
    text = (Path(__file__).parent.parent / "docs" / "signals.md").read_text(encoding="utf-8")
    for name in signals.__all__:
        if name != "Signal":
            assert f"| `{name}` |" in text, name
            for argument in getattr(signals, name).providing_args:
                assert f"`{argument}`" in text, f"{name}: {argument}"


def test_the_documentation_says_which_signals_are_sent() -> None:
    """A signal counts as sent where the package has `<name>.send(`."""
    root = Path(__file__).parent.parent
    code = "".join(path.read_text(encoding="utf-8") for path in (root / "litequeue").rglob("*.py"))
    sent, not_sent = (root / "docs" / "signals.md").read_text(encoding="utf-8").split("## Declared, not sent")
    for name in signals.__all__:
        if name != "Signal":
            assert f"| `{name}` |" in (sent if f"{name}.send(" in code else not_sent), name


def test_a_receiver_gets_signal_sender_and_arguments_and_its_answer_comes_back(signal: Signal) -> None:
    def receiver(**named: Any) -> Any:
        return named

    signal.connect(receiver)
    assert signal.send(sender="me", value=3) == [(receiver, {"signal": signal, "sender": "me", "value": 3})]
    assert signal.send_robust("me", value=3) == signal.send("me", value=3)


def test_connect_is_a_decorator_with_and_without_arguments(signal: Signal) -> None:
    calls: list[str] = []

    @signal.connect
    def plain(**_: Any) -> None:
        calls.append("plain")

    @signal.connect(sender="me", weak=False)
    def chosen(**_: Any) -> None:
        calls.append("chosen")

    assert callable(plain) and callable(chosen)
    signal.send("other")
    signal.send("me")
    assert calls == ["plain", "plain", "chosen"]


def test_receivers_is_an_empty_list_while_nobody_listens(signal: Signal) -> None:
    ear = Ear()
    assert signal.receivers == [] and not signal.has_listeners()
    signal.connect(ear.hear, sender="me")
    assert signal.receivers and signal.has_listeners("me") and not signal.has_listeners("other")
    assert signal.disconnect(ear.hear, sender="me")
    assert signal.receivers == []
    assert not signal.disconnect(ear.hear, sender="me")


def test_a_receiver_for_one_sender_hears_only_that_one(signal: Signal) -> None:
    ear, sender = Ear(), object()
    signal.connect(ear.hear, sender=sender)
    signal.send(object(), value=1)
    signal.send(sender, value=2)
    assert ear.heard == [(sender, 2)]


def test_names_of_tasks_are_senders_by_value(signal: Signal) -> None:
    ear = Ear()
    signal.connect(ear.hear, sender="proj.add")
    signal.send("".join(["proj", ".add"]), value=1)
    assert len(ear.heard) == 1


def test_a_task_that_is_not_made_yet_may_be_named_as_sender_without_being_made(signal: Signal) -> None:
    made: list[object] = []

    class Task:
        pass

    def make() -> Task:
        made.append(1)
        return Task()

    task, ear = PromiseProxy(make), Ear()
    signal.connect(ear.hear, sender=task)
    signal.connect(ear.hear, sender=task)
    signal.send("other")
    assert made == [] and len(signal.receivers) == 1
    signal.send(task._get_current_object(), value=1)
    signal.send(task, value=2)
    assert [value for _, value in ear.heard] == [1, 2]
    assert signal.disconnect(ear.hear, sender=task)


def test_a_proxy_counts_as_what_it_stands_for(signal: Signal) -> None:
    target, ear = Ear(), Ear()
    signal.connect(ear.hear, sender=Proxy(lambda: target))
    signal.send(target, value=1)
    assert len(ear.heard) == 1


def test_receivers_are_held_weakly_unless_asked_otherwise(signal: Signal) -> None:
    def forgotten(**_: Any) -> None: ...

    def kept(**_: Any) -> str:
        return "kept"

    signal.connect(forgotten)
    signal.connect(kept, weak=False)
    gone = weakref.ref(forgotten)
    del forgotten, kept
    gc.collect()
    assert gone() is None
    assert [answer for _, answer in signal.send(None)] == ["kept"]
    assert len(signal.receivers) == 1


def test_a_bound_method_lives_as_long_as_its_object(signal: Signal) -> None:
    one, other = Ear(), Ear()
    signal.connect(one.hear)
    signal.connect(other.hear)
    assert len(signal.send(None)) == 2
    del other
    gc.collect()
    assert len(signal.send(None)) == 1
    assert signal.disconnect(one.hear)


def test_the_same_receiver_is_connected_once_for_each_sender(signal: Signal) -> None:
    ear = Ear()
    for _ in range(3):
        signal.connect(ear.hear)
        signal.connect(ear.hear, sender="me")
    assert len(signal.send("me")) == 2


def test_a_second_receiver_under_one_dispatch_uid_is_not_added(signal: Signal) -> None:
    one, other = Ear(), Ear()
    signal.connect(one.hear, dispatch_uid="x")
    signal.connect(other.hear, dispatch_uid="x")
    signal.send(None)
    assert (len(one.heard), len(other.heard)) == (1, 0)
    assert signal.disconnect(dispatch_uid="x")
    assert not signal.has_listeners()


def test_a_dispatch_uid_is_free_again_when_its_receiver_has_died(signal: Signal) -> None:
    one, other = Ear(), Ear()
    signal.connect(one.hear, dispatch_uid="x")
    del one
    gc.collect()
    signal.connect(other.hear, dispatch_uid="x")
    assert len(signal.send(None)) == 1


def test_a_receiver_that_raises_is_logged_and_counted_and_stops_nobody(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    error, ear = RuntimeError("broken"), Ear()

    def broken(**_: Any) -> None:
        raise error

    signal.connect(broken)
    signal.connect(ear.hear)
    with caplog.at_level(logging.ERROR):
        answers = signal.send("me", value=1)
    assert answers == [(broken, error), (ear.hear, "heard")]
    assert signal.errors == 1
    assert "broken" in caplog.text and "test" in caplog.text


def test_what_is_no_error_of_the_receiver_passes_through(signal: Signal) -> None:
    def leave(**_: Any) -> None:
        raise SystemExit(3)

    signal.connect(leave)
    with pytest.raises(SystemExit):
        signal.send(None)


def test_a_receiver_with_retry_is_called_until_it_succeeds(
    signal: Signal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "_RETRY_FIRST", 0.001)
    tries: list[int] = []

    @signal.connect(retry=True)
    def third_time_lucky(**_: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return "done"

    assert [answer for _, answer in signal.send(None)] == ["done"]
    assert len(tries) == 3 and signal.errors == 0
    assert caplog.text.count("is called again in") == 2
    assert signal.disconnect(third_time_lucky)


def test_a_receiver_must_be_callable_with_keywords(signal: Signal) -> None:
    def without_keywords(sender: Any) -> None: ...

    class Callable:
        def __call__(self, **_: Any) -> str:
            return "called"

    class Refused:
        def __call__(self) -> None: ...

    with pytest.raises(ValueError, match=r"add \*\*kwargs"):
        signal.connect(without_keywords)
    with pytest.raises(ValueError, match=r"add \*\*kwargs"):
        signal.connect(Refused())
    with pytest.raises(TypeError, match="callable"):
        signal.connect(3)  # type: ignore[call-overload]
    instance = Callable()
    signal.connect(instance)
    signal.connect(functools.partial(instance, extra=1), weak=False)
    assert [answer for _, answer in signal.send(None)] == ["called", "called"]


def test_a_receiver_may_disconnect_itself_while_it_is_called(signal: Signal) -> None:
    calls: list[int] = []

    def once(**_: Any) -> None:
        calls.append(1)
        signal.disconnect(once)

    ear = Ear()
    signal.connect(once)
    signal.connect(ear.hear)
    signal.send(None)
    signal.send(None)
    assert len(calls) == 1 and len(ear.heard) == 2


def test_threads_may_connect_send_and_drop_receivers_at_once(signal: Signal) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                ear = Ear()
                signal.connect(ear.hear)
                assert any(receiver == ear.hear for receiver, _ in signal.send(None))
                if _ % 2:
                    signal.disconnect(ear.hear)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert failures == []
    assert not signal.has_listeners()


def test_a_signal_says_what_it_is_and_stays_in_its_process(signal: Signal) -> None:
    assert repr(signal) == "<Signal: test providing_args=['value']>"
    with pytest.raises(TypeError, match="test"):
        pickle.dumps(signal)
