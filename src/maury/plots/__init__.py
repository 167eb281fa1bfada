"""Every figure: drawn from plain arrays, returned as a matplotlib figure, with no global state."""

from maury.plots.calibrations import plot_calibration
from maury.plots.corner import plot_corner
from maury.plots.elements import plot_element_lines, plot_model_lines
from maury.plots.emulators import (
    plot_cool_dwarfs,
    plot_emulator_error,
    plot_emulator_pixels,
    plot_library_size,
    plot_physics_errors,
)
from maury.plots.explanations import plot_explanation
from maury.plots.fits import plot_result, plot_spectrum_fit
from maury.plots.grids import plot_grid_coverage
from maury.plots.kiel import plot_kiel
from maury.plots.label_errors import plot_bias, plot_errors
from maury.plots.limits_map import plot_limits_map
from maury.plots.literature import plot_literature
from maury.plots.observations import plot_observations
from maury.plots.posteriors import plot_bound, plot_coverage, plot_heads, plot_ranks
from maury.plots.predictions import plot_predicted, plot_residuals
from maury.plots.preparations import plot_preparation
from maury.plots.searches import plot_search
from maury.plots.style import figure_bytes, figure_svg, save_figure
from maury.plots.training import plot_learning_curve

__all__ = [
    "figure_bytes",
    "figure_svg",
    "plot_bias",
    "plot_bound",
    "plot_calibration",
    "plot_cool_dwarfs",
    "plot_corner",
    "plot_coverage",
    "plot_element_lines",
    "plot_emulator_error",
    "plot_emulator_pixels",
    "plot_errors",
    "plot_explanation",
    "plot_grid_coverage",
    "plot_heads",
    "plot_kiel",
    "plot_learning_curve",
    "plot_library_size",
    "plot_limits_map",
    "plot_literature",
    "plot_model_lines",
    "plot_observations",
    "plot_physics_errors",
    "plot_predicted",
    "plot_preparation",
    "plot_ranks",
    "plot_residuals",
    "plot_result",
    "plot_search",
    "plot_spectrum_fit",
    "save_figure",
]
