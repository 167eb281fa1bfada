"""From what a file holds to what a network sees: radial velocity, continuum, masks, noise, resolution, pixels."""

from maury.preparation.pixels import MIN_OVERLAP_AA, Prepared, to_pixels
from maury.preparation.prepare import FLAGS, OrderRecord, Preparation, prepare

__all__ = ["FLAGS", "MIN_OVERLAP_AA", "OrderRecord", "Preparation", "Prepared", "prepare", "to_pixels"]
