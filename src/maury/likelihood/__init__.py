"""How probable a spectrum is for given labels: forward model, errors, continuum; and the posterior that follows."""

from maury.likelihood.data import usable
from maury.likelihood.errors import ErrorModel, NoiseModel
from maury.likelihood.laplace import Mode, find_mode, highest_mode
from maury.likelihood.luminosity import Luminosity, luminosity, luminosity_prior
from maury.likelihood.physics import simulator_for
from maury.likelihood.priors import LabelPrior, contradictory, parse_prior, parse_value, relation
from maury.likelihood.refine import Refined, refine
from maury.likelihood.target import Coordinates, free_labels

__all__ = [
    "Coordinates",
    "ErrorModel",
    "LabelPrior",
    "Luminosity",
    "Mode",
    "NoiseModel",
    "Refined",
    "contradictory",
    "find_mode",
    "free_labels",
    "highest_mode",
    "luminosity",
    "luminosity_prior",
    "parse_prior",
    "parse_value",
    "refine",
    "relation",
    "simulator_for",
    "usable",
]
