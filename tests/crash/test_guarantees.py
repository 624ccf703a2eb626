"""docs/guarantees.md names tests that exist, and every promise names one or says what it waits for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "guarantees.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"`((?:tests/)?[\w/]+\.py(?:::\w+)?)`", TEXT))))
def test_a_test_that_is_named_exists(reference):
    name, _, function = reference.removeprefix("tests/").partition("::")
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    if function:
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(1, 11))
def test_each_promise_names_its_test(number):
    promise = re.search(rf"### P{number}\..*?(?=\n##)", TEXT, re.DOTALL)
    assert promise, f"P{number} is not on the page"
    assert "::test_" in promise[0] or "Comes with the" in promise[0]
