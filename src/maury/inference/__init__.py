"""From spectra to stellar parameters: `predict` and its `Result`, posteriors of many spectra together, tables."""

from maury.inference.batch import Posteriors, predict_batch
from maury.inference.differential import Reference
from maury.inference.element_lines import element_lines
from maury.inference.exposures import Exposure, exposures_table
from maury.inference.model import model_flux
from maury.inference.posterior import LABELS_OF, Posterior
from maury.inference.refinement import Refinement
from maury.inference.result import Measurement, Result
from maury.inference.single import DEFAULT_MODEL, predict, predict_pixels, reference_star
from maury.inference.write import to_table, write_exposures, write_samples, write_table

__all__ = [
    "DEFAULT_MODEL",
    "LABELS_OF",
    "Exposure",
    "Measurement",
    "Posterior",
    "Posteriors",
    "Reference",
    "Refinement",
    "Result",
    "element_lines",
    "exposures_table",
    "model_flux",
    "predict",
    "predict_batch",
    "predict_pixels",
    "reference_star",
    "to_table",
    "write_exposures",
    "write_samples",
    "write_table",
]
