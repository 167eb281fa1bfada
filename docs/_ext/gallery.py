"""The directive ``gallery``: run a script of docs/gallery, show its figure for light and dark pages, and its code."""

import logging
import runpy
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from maury.plots import save_figure

FOLDER = Path(__file__).parents[1] / "gallery"


def draw(name):
    """The figure that a script makes, and its text."""
    script = FOLDER / f"{name}.py"
    sys.path.insert(0, str(FOLDER))
    try:
        return runpy.run_path(str(script))["figure"], script.read_text("utf-8")
    finally:
        sys.path.remove(str(FOLDER))


class Gallery(SphinxDirective):
    """One figure with its script; the argument is the script's name without its ending."""

    required_arguments = 1

    def run(self):
        """Draw; a script that fails stops the build."""
        name = self.arguments[0]
        figure, text = draw(name)
        self.env.note_dependency(str(FOLDER / f"{name}.py"))
        folder = Path(self.env.app.outdir) / "_gallery"
        shown = []
        for theme in ("light", "dark"):
            path, _ = save_figure(figure, folder / f"{name}-{theme}", dark=theme == "dark")
            alt = text.split('"""')[1].strip()
            size = f"width:{96 * figure.get_figwidth():.0f}px; max-width:100%"  # as in a paper
            html = f'<img class="only-{theme}" src="_gallery/{path.name}" alt="{alt}" style="{size}">'
            shown.append(nodes.raw("", html, format="html"))
        files = " · ".join(
            f'<a href="_gallery/{name}-{theme}.{kind}">{kind.upper()}, {theme}</a>'
            for theme in ("light", "dark")
            for kind in ("pdf", "png")
        )
        shown.append(nodes.raw("", f"<p>{files}</p>", format="html"))
        return [*shown, nodes.literal_block(text, text, language="python")]


def setup(app):
    """Register the directive; PySME, which the API pages import, would have fontTools tell all it does."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True}
