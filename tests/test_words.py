"""Plain English: phrases that have to be read twice do not return, in code, help, messages and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    r"\btold\b": "given, nominal, known, recognised, measured",
    r"\btells? (of|apart)\b": "constrains, distinguishes",
    r"\bwhat .{0,30}\b(says?|tells?) of\b|\bsays? of (itself|single|one|its)\b": "inferred parameters, header of",
    r"\b(goes|go|going|went) on (where|from|after|on|as|with)\b": "resumes",
    r"\b(run|call|command|training|study) goes on\b": "resumes",
    r"\b(have|has|had) no say\b": "gets zero weight",
    r"\braised by what\b": "corrected by the mean offset of ...",
    r"\b(something|anything|what|that) is no [a-z]": "is not a ...",
    r"\btakes? \w+ for (a|an|the|granted|such|wrong)\b|\btaken for\b": "mistaken for, read as, assumed to be",
    r"\bspectra at once\b|\bat once, by\b|\b(them|stars|files|elements) at once\b": "together",
    r"\bas (it is )?told\b|\bunless told\b": "nominal, by default",
    r"\btrunk\b": "embedding network",
    r"\boff beyond\b": "systematic uncertainty",
    r"\btold from\b": "nearly degenerate with, distinguished from",
}
"""Phrase, as a regular expression, and what to write instead."""

PAGES = [*ROOT.glob("*.md"), ROOT / "Makefile", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.py")]
CODE = sorted((ROOT / "src" / "maury").rglob("*.py"))
NAMES = re.compile(r'^_RENAMED = .*|"trunk"|`trunk`')
"""Former names of settings, which are still read, are no prose."""


def hits(text: str) -> list[str]:
    """Lines with a phrase of the list, and what to write instead."""
    text = NAMES.sub("", text)
    return [
        f"{line.strip()}\n    instead of {found[0]!r}: {instead}"
        for line in text.splitlines()
        for phrase, instead in INSTEAD.items()
        if (found := re.search(phrase, line, re.IGNORECASE))
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_in_plain_english(path):
    assert "\n".join(hits(path.read_text(encoding="utf-8"))) == ""


def test_code_help_and_messages_are_in_plain_english():
    """Docstrings are the help of the command line, so that code is read as a whole."""
    found = [f"{path}: {hit}" for path in CODE for hit in hits(path.read_text(encoding="utf-8"))]
    assert "\n".join(found) == ""


@pytest.mark.parametrize(
    "sentence",
    ["R is told by the user", "what a network says of one star", "a killed run goes on where it was",
     "pixels have no say", "were raised by what is missing", "something that is no spectrum", "many spectra at once"],
)  # fmt: skip
def test_the_list_finds_the_former_dialect(sentence):
    assert len(hits(sentence)) >= 1
