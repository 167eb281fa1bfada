"""How probable a spectrum is for given labels: forward model, errors, continuum; and the posterior that follows."""

from maury.likelihood.data import Star
from maury.likelihood.errors import ErrorModel, Whitened
from maury.likelihood.external import External, contradictory, parse_external, relation
from maury.likelihood.laplace import Mode, find_mode
from maury.likelihood.physics import simulator_for
from maury.likelihood.refine import Refined, refine
from maury.likelihood.target import Coordinates, free_labels

__all__ = [
    "Coordinates",
    "ErrorModel",
    "External",
    "Mode",
    "Refined",
    "Star",
    "Whitened",
    "contradictory",
    "find_mode",
    "free_labels",
    "parse_external",
    "refine",
    "relation",
    "simulator_for",
]
