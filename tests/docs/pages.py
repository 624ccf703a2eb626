"""What a page of docs/ holds: its code blocks, headings, links, and the words it writes as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"^<!-- (.+) -->$")
_FILE = re.compile(r"# (\w+\.py)\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_WORD = re.compile(r"--?[A-Za-z][\w-]*|[A-Za-z_]\w*")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: Path
    language: str
    line: int
    """The number of its first line in the page, from 1."""
    text: str
    comment: str | None
    """What a comment on the line before says about it; it is not shown to readers."""

    @property
    def not_run(self) -> str | None:
        """Why it is not run, where the comment says so."""
        return self._said("not run: ")

    @property
    def rows_of(self) -> str | None:
        """The canvas whose rows it shows, where the comment says so."""
        return self._said("rows: ")

    @property
    def printed(self) -> bool:
        """Whether it shows what the Python block before it prints."""
        return self.comment == "prints"

    def _said(self, about: str) -> str | None:
        comment = self.comment or ""
        return comment.removeprefix(about) if comment.startswith(about) else None

    @property
    def file(self) -> str | None:
        """The file that the block shows, where its first line is a comment with a file name."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def pages() -> list[Path]:
    """The README and every page of docs/."""
    return [README, *sorted(DOCS.glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    found: list[Block] = []
    language, start, before = None, 0, ""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            before = line if language is None and line.strip() else before
        elif language is None:
            language, start = fence[1], number + 1
        else:
            comment = _COMMENT.match(before)
            text = "".join(f"{each}\n" for each in lines[start - 1 : number - 1])
            found.append(Block(page, language, start, text, comment[1] if comment else None))
            language, before = None, ""
    assert language is None, f"{page.name}:{start - 1}: the block is not closed"
    return found


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """What the page writes as `code` within its text."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def code_words(page: Path) -> set[str]:
    """Every word that the page writes as code: names, and options with their dashes."""
    return {word for text in [*spans(page), *(block.text for block in blocks(page))] for word in _WORD.findall(text)}


def links(page: Path) -> list[str]:
    """The targets of links to other files and headings; links to the web are left out."""
    return [target for target in _LINK.findall(prose(page)) if not re.match(r"https?:|mailto:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> Iterator[str]:
    """Every command line of `litequeue` that the page shows, in a console block or in its text."""
    for block in blocks(page):
        if block.language in ("console", "sh", "bash", "ini"):
            for line in block.text.splitlines():
                found = re.match(r"(?:[$#] (?:\w+=\S+ )*|ExecStart=\S*/)(litequeue( .*)?)$", line)
                if found:
                    yield found[1].split("  #")[0]
    for span in spans(page):
        if span.startswith("litequeue ") and "|" not in span and not span.endswith("..."):
            yield span
