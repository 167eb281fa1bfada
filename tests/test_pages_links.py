"""Links of the pages that stay inside the project lead somewhere: files, images, headings. No network is used."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from pages import ROOT, anchors, links

PAGES = sorted([*ROOT.glob("*.md"), *(p for p in ROOT.glob("docs/**/*.md") if "_build" not in p.parts)])


def broken(page):
    """Targets in a page that lead nowhere, with the reason."""
    found = []
    for target in links(page):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not file.is_relative_to(ROOT.resolve()) and file != page:
            found.append(f"{target}: outside of the project")
        elif not file.exists():
            found.append(f"{target}: no such file")
        elif parts.fragment and file.suffix == ".md" and parts.fragment not in anchors(file):
            found.append(f"{target}: no such heading; there are {', '.join(sorted(anchors(file)))}")
    return found


def test_there_are_pages_with_links():
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/index.md", "docs/tutorial.md"} <= names
    assert sum(len(links(page)) for page in PAGES) > 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(broken.__globals__, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text(
        "# One heading\n\n[fine](b.md#other-one) [fine](#one-heading) [far](https://nowhere.invalid/x.md)\n"
        "[no](c.md) [no](b.md#others) ![no](figure.png) [no](../outside.md)\n\n<img src='gone.png' alt=''>\n"
    )
    (tmp_path / "b.md").write_text("## Other *one*\n")
    reasons = broken(tmp_path / "a.md")
    assert [reason.partition(":")[0] for reason in reasons] == [
        "c.md", "b.md#others", "figure.png", "../outside.md", "gone.png",
    ]  # fmt: skip
