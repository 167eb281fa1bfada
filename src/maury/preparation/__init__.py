"""Preparation of observed spectra for a network: radial velocity, continuum, masks, noise, resolution, pixels."""

from maury.preparation.masks import Mask, parse_range
from maury.preparation.pipeline import OrderRecord, Preparation, prepare
from maury.preparation.resample import to_pixels

__all__ = ["Mask", "OrderRecord", "Preparation", "parse_range", "prepare", "to_pixels"]
