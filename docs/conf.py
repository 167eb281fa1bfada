"""Sphinx settings."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "maury"
author = "The maury developers"
copyright = "The maury developers, BSD-3-Clause"
version = release = installed("maury")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "commands",
    "gallery",
]
exclude_patterns = ["_build", "decisions/template.md", "results/*/*.md"]
default_role = "code"
smartquotes = False

myst_enable_extensions = ["deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"maury {release}"


def escape_bars(app, what, name, obj, options, lines):
    """Let absolute values stand in docstrings as |x|, which reStructuredText would take for a substitution."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[i] = "``".join(parts)


def setup(app):
    """Register what the settings above cannot say."""
    app.connect("autodoc-process-docstring", escape_bars)
