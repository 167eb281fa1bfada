"""Grids of broadened spectra: the SPC nodes, building them with the emulator, reading them."""

from maury.grids.build import build_grid
from maury.grids.file import Grid, encode, open_grid, quantise, write_grid
from maury.grids.plan import NodesConfig
from maury.grids.spc import GridConfig

__all__ = ["Grid", "GridConfig", "NodesConfig", "build_grid", "encode", "open_grid", "quantise", "write_grid"]
