"""Catalogues: stellar parameters of any number of spectra, written in parts so that an interrupted run resumes."""

from maury.catalogue.manifest import read_manifest
from maury.catalogue.parts import read_catalogue
from maury.catalogue.prediction import Summary, run_catalogue
from maury.catalogue.prediction_options import CatalogueConfig

__all__ = ["CatalogueConfig", "Summary", "read_catalogue", "read_manifest", "run_catalogue"]
