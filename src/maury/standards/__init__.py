"""Standard stars with known labels, used to measure the errors of model spectra and of inferred labels."""

from maury.standards.cool_dwarfs import compare_dwarfs, corrections_without, dwarf_table, measure_cool_dwarfs
from maury.standards.model_error import ModelErrorTable, fit_levels, measure_model_error
from maury.standards.physics_errors import Fitted, compare, factors, fit_star, save_factors, summary
from maury.standards.systematic_errors import of_labels, predicted
from maury.standards.table import Standard, measured, read_standards

__all__ = [
    "Fitted",
    "ModelErrorTable",
    "Standard",
    "compare",
    "compare_dwarfs",
    "corrections_without",
    "dwarf_table",
    "factors",
    "fit_levels",
    "fit_star",
    "measure_cool_dwarfs",
    "measure_model_error",
    "measured",
    "of_labels",
    "predicted",
    "read_standards",
    "save_factors",
    "summary",
]
