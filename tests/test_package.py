"""What is installed: the wheel's files, the version, the two ways to start the command."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import litequeue

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the sources, without the network."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "litequeue", source / "litequeue", ignore=shutil.ignore_patterns("__pycache__"))

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(source / "dist"), str(source)], check=True, timeout=110)
    (built,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def metadata(wheel: zipfile.ZipFile) -> str:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return wheel.read(name).decode()


def test_the_wheel_has_the_schema_and_the_mark_of_types(wheel: zipfile.ZipFile) -> None:
    assert {"litequeue/store/sqlite/schema.sql", "litequeue/py.typed"} <= set(wheel.namelist())


def test_the_wheel_has_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "litequeue").rglob("*.py")}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert modules <= packed
    assert all(name.startswith("litequeue/") for name in packed)


def test_the_wheel_names_its_licence_and_its_pythons(wheel: zipfile.ZipFile) -> None:
    text = metadata(wheel)
    assert "License-Expression: BSD-3-Clause" in text
    assert "Requires-Python: >=3.11" in text
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def test_the_version_has_one_source(wheel: zipfile.ZipFile) -> None:
    assert f"\nVersion: {litequeue.__version__}\n" in metadata(wheel)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert "version" not in project


def test_the_changelog_has_the_version_or_is_ahead_of_it() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", litequeue.__version__)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout


def test_python_m_litequeue_equals_the_command() -> None:
    """`python -m litequeue` and `litequeue` are one function, and say the same version."""
    script = run(sys.executable, "-c", "from litequeue.__main__ import main; main()", "--version")
    module = run(sys.executable, "-m", "litequeue", "--version")
    assert litequeue.__version__ in module
    assert script.replace("-c", "litequeue") == module or litequeue.__version__ in script

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"litequeue": "litequeue.__main__:main"}


def test_the_installed_command_says_what_the_module_says() -> None:
    command = Path(sys.executable).with_name("litequeue")
    if not command.exists():
        pytest.skip("litequeue is not installed in this environment")
    assert run(str(command), "--version") == run(sys.executable, "-m", "litequeue", "--version")
    assert importlib.metadata.version("litequeue") == litequeue.__version__
