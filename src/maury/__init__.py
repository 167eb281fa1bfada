"""maury: open, neural stellar parameter classification from high-resolution optical spectra."""

__version__ = "0.1.0"
