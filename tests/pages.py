"""Pages of the project as their parser sees them: fenced commands, links, anchors."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin

ROOT = Path(__file__).parents[1]
SHELL = ("console", "bash", "sh", "shell")
"""Languages of fenced blocks that hold commands."""


def tokens(page: Path) -> Iterator[Token]:
    """All tokens of a page, those inside of lines too."""
    parser = MarkdownIt("commonmark").enable("table").use(anchors_plugin, max_level=6)
    for token in parser.parse(page.read_text("utf-8")):
        yield token
        yield from token.children or ()


def commands(page: Path) -> list[list[str]]:
    """The words of each command in the page's shell blocks: in a console those after ``$``, elsewhere each line."""
    found = []
    for token in tokens(page):
        language = token.info.split()[0] if token.type == "fence" and token.info.strip() else ""
        if language not in SHELL:
            continue
        for line in token.content.replace("\\\n", " ").splitlines():
            if language == "console" and not line.startswith("$ "):
                continue
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                found.append(words)
    return found


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings, as GitHub and MyST write them."""
    return {str(token.attrGet("id")) for token in tokens(page) if token.type == "heading_open"}


class _Targets(HTMLParser):
    """Targets of links and images in a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def links(page: Path) -> list[str]:
    """Targets of links and images, those in HTML too."""
    found, html = [], _Targets()
    for token in tokens(page):
        found += [str(target) for name in ("href", "src") if (target := token.attrGet(name)) is not None]
        if token.type in ("html_inline", "html_block"):
            html.feed(token.content)
    return found + html.found
