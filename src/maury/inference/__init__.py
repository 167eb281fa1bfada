"""From spectra to stellar parameters: `predict` and its `Result`, posteriors of many spectra at once, tables."""

from maury.inference.batch import Posteriors, predict_batch
from maury.inference.model import model_flux
from maury.inference.posterior import FLAGS, Posterior
from maury.inference.predict import DEFAULT_MODEL, predict
from maury.inference.result import Measurement, Result
from maury.inference.write import to_table, write_samples, write_table

__all__ = [
    "DEFAULT_MODEL",
    "FLAGS",
    "Measurement",
    "Posterior",
    "Posteriors",
    "Result",
    "model_flux",
    "predict",
    "predict_batch",
    "to_table",
    "write_samples",
    "write_table",
]
