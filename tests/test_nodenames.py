"""Names of worker nodes and their placeholders."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from litequeue.utils import nodenames

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def parent_again() -> Iterator[None]:
    yield
    nodenames.set_process_number(None)


def test_a_process_that_is_no_worker_is_named_by_its_pid() -> None:
    assert nodenames.anon_nodename() == f"gen{os.getpid()}@{HOST}"
    assert nodenames.anon_nodename("h", prefix="x") == f"x{os.getpid()}@h"


@pytest.mark.parametrize(
    ("given", "full"),
    [
        (None, f"celery@{HOST}"),
        ("", f"celery@{HOST}"),
        ("foo", "celery@foo"),
        ("a@", f"a@{HOST}"),
        ("a@b.c", "a@b.c"),
        ("@b", "celery@b"),
    ],
)
def test_the_missing_half_of_a_name_is_filled_in(given: str | None, full: str) -> None:
    assert nodenames.default_nodename(given) == full


def test_another_default_name() -> None:
    assert nodenames.default_nodename("h", "beat") == "beat@h"


@pytest.mark.parametrize(
    ("name", "halves"), [("a@b", ("a", "b")), ("b", (None, "b")), ("a@b@c", ("a", "b@c")), ("@b", ("", "b"))]
)
def test_a_name_has_two_halves(name: str, halves: tuple[str | None, str]) -> None:
    assert nodenames.nodesplit(name) == halves
    if halves[0] is not None:
        assert nodenames.nodename(halves[0], halves[1]) == name


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("w1@%h", "w1@box.example.com"),
        ("w1@%n", "w1@box"),
        ("w1@%d", "w1@example.com"),
        ("100%%", "100%"),
        ("%%h", "%h"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_placeholders_of_the_host(text: str, filled: str) -> None:
    assert nodenames.host_format(text, "box.example.com") == filled


def test_without_a_host_it_is_this_machine() -> None:
    assert nodenames.host_format("%h") == HOST


def test_placeholders_of_a_node_and_a_child_process() -> None:
    assert nodenames.node_format("/log/%n%I.%i.log %p", "w1@box") == "/log/w1.0.log w1@box"
    nodenames.set_process_number(3)
    assert nodenames.node_format("/log/%n%I.%i.log", "w1@box") == "/log/w1-3.3.log"
    assert nodenames.node_format("%n", "box") == "celery"


def test_further_placeholders_may_be_text_or_made_when_needed() -> None:
    assert nodenames.host_format("%x-%y", "h", x="1", y=lambda: "2") == "1-2"


def test_an_unknown_placeholder_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"'%z'.*%h"):
        nodenames.host_format("%z", "h")
