"""The look of every figure: type, sizes, colours for all kinds of colour vision; how figures are saved."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from maury.files import atomic_path
from maury.labels import LABELS

INK = "#1c2126"
"""Colour of text, axes and reference lines. `figure_svg` replaces it by the page's own text colour."""

NIGHT, MOON = "#14181c", "#e4e8eb"
"""Ground and ink of figures for dark pages."""

COLOURS = ("#2f74b8", "#e0703a", "#2c9a63", "#a04a8a", "#c2a71f", "#9299a0")
"""Blue, orange, green, purple, ochre, grey: distinct for colour-blind readers, on white and on black."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""One marker per colour, so that nothing rests on colour alone."""

SINGLE, DOUBLE = 3.5, 7.1
"""Widths of one and two journal columns, inches."""

_STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.1,
    "grid.linewidth": 0.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "maury",
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
}

_KMS = r"km s$^{-1}$"

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure with maury's style, leaving matplotlib's own settings as they are.

    The layout is solved once: saving to several formats would otherwise repeat it.
    """

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(_STYLE):
            figure = draw(*args, **kwargs)
            layout = figure.get_layout_engine()
            if layout is not None:  # faster than a drawing, which would do the same
                layout.execute(figure)
            figure.set_layout_engine("none")
            _place_labels(figure)
            return figure

    return wrapper


def _place_labels(figure: Figure) -> None:
    """Align the labels of axes that begin in one line, and fix them there.

    As `Figure.align_labels`, which compares all axes with each other again in each drawing.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    lines: dict[tuple[int, str, float], list[tuple[Axis, np.ndarray]]] = {}
    all_axes: list[tuple[int, Axis]] = [pair for axes in figure.axes for pair in ((1, axes.xaxis), (0, axes.yaxis))]
    for across, axis in all_axes:
        if axis.label.get_text():
            axis.get_tightbbox(renderer)  # places the label
            ends = axis.axes.get_position()
            side: str = axis.get_label_position()
            end = {"left": ends.x0, "bottom": ends.y0, "right": ends.x1, "top": ends.y1}[side]
            place = axis.label.get_transform().transform(axis.label.get_position())
            lines.setdefault((across, side, round(float(end), 3)), []).append((axis, place))
        else:
            axis.set_label_coords(0, 0)
    for (across, side, _), labels in lines.items():
        outermost = (min if side in ("left", "bottom") else max)(place[across] for _, place in labels)
        for axis, place in labels:
            place[across] = outermost
            axis.set_label_coords(*axis.axes.transAxes.inverted().transform(place))


def titled(figure: Figure, title: str) -> Figure:
    """The figure with a title above all panels, unless that is empty."""
    if title:
        figure.suptitle(title, wrap=True)
    return figure


def speed_colours() -> Colormap:
    """Viridis without its darkest and lightest colours, so that it is visible on white and on black."""
    return LinearSegmentedColormap.from_list("maury", colormaps["viridis"](np.linspace(0.14, 0.93, 128)))


def axis_label(name: str) -> str:
    """Symbol and unit of a label, such as "log g (cgs)"."""
    unit = "cgs" if name == "logg" else LABELS[name].unit.replace("km/s", _KMS)
    return f"{LABELS[name].symbol} ({unit})"


def error_label(name: str, what: str = r"$\Delta$") -> str:
    """Symbol and unit of an error in a label; errors in log g are in dex."""
    unit = "dex" if name == "logg" else LABELS[name].unit.replace("km/s", _KMS)
    return f"{what}{LABELS[name].symbol} ({unit})"


def strip_limit(residual: np.ndarray, share: float = 0.995) -> float:
    """Half-width of a residual axis that shows ``share`` of the points."""
    limit = float(np.quantile(np.abs(residual), share)) if len(residual) else 0.0
    return 1.1 * limit if limit > 0 else 1.0


def note_outside(axes: Axes, residual: np.ndarray) -> None:
    """Say above the panel how many points lie beyond its vertical limits; silent when there are none."""
    low, high = axes.get_ylim()
    count = int(((residual < low) | (residual > high)).sum())
    if count:
        axes.set_title(f"{count} beyond the axis", loc="right", fontsize=8, pad=2)


def log_ticks(axes: Axes) -> None:
    """A logarithmic vertical axis with plain numbers at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def save_figure(figure: Figure, stem: str | os.PathLike[str], *, dark: bool = False) -> list[Path]:
    """Write ``stem``.png (300 dpi) and ``stem``.pdf, each through a temporary name.

    Args:
        figure: what to draw.
        stem: path without its ending.
        dark: light ink on a dark ground, for slides and dark pages; else dark ink on white.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = []
    for kind in ("png", "pdf"):
        path = Path(f"{os.fspath(stem)}.{kind}")
        with atomic_path(path) as temporary:
            temporary.write_bytes(figure_bytes(figure, kind, dark=dark))
        paths.append(path)
    return paths


def figure_bytes(figure: Figure, kind: str, *, dark: bool = False, dpi: int = 300, clear: bool = False) -> bytes:
    """A figure as the bytes of a PNG or PDF file.

    Args:
        figure: what to draw.
        kind: "png" or "pdf".
        dark: light ink on a dark ground.
        dpi: dots per inch of a PNG, and of what is drawn as dots in a PDF.
        clear: no ground, for a page that has its own.
    """
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}}[kind]
    stream = io.BytesIO()
    with rc_context(_STYLE), _night(figure) if dark else contextlib.nullcontext():
        figure.savefig(stream, format=kind, metadata=metadata, dpi=dpi, transparent=clear)
    return stream.getvalue()


@contextlib.contextmanager
def _night(figure: Figure) -> Iterator[None]:
    """Switch to light ink on a dark ground within the context."""
    grounds = [figure.patch, *(axes.patch for axes in figure.axes)]
    before = [ground.get_facecolor() for ground in grounds]
    for ground in grounds:
        ground.set_facecolor(NIGHT)
    _exchange(figure, INK, MOON)
    try:
        yield
    finally:
        _exchange(figure, MOON, INK)
        for ground, colour in zip(grounds, before, strict=True):
            ground.set_facecolor(colour)


def _exchange(figure: Figure, old: str, new: str) -> None:
    """Replace a colour in all parts of a figure; the opacity stays."""
    former, rgb = np.array(to_rgb(old)), to_rgb(new)
    for part in figure.findobj():
        for what in ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor"):
            getter, setter = getattr(part, f"get_{what}", None), getattr(part, f"set_{what}", None)
            if getter is None or setter is None:
                continue
            colours = getter()
            if isinstance(colours, str) and colours in ("none", "auto"):
                continue
            table = to_rgba_array(colours)
            hit = np.abs(table[:, :3] - former).max(1) < 1e-6 if len(table) else np.zeros(0, bool)
            if hit.any():
                table[hit, :3] = rgb
                setter(table if len(table) > 1 else tuple(table[0]))


def figure_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an SVG element to be put into a page: transparent, its ink the page's text colour.

    Args:
        figure: what to draw.
        name: prefix of all identifiers, so that several figures fit into one page.
        title: what a screen reader says.
    """
    stream = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(stream, format="svg", transparent=True, dpi=170, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    width = figure.get_figwidth()
    opening = f'<svg role="img" aria-label="{escape(title)}" style="max-width:{width * 96:.0f}px" '
    return re.sub(r'width="[^"]*" height="[^"]*"|height="[^"]*" width="[^"]*"', "", opening + svg[4:], count=1)
