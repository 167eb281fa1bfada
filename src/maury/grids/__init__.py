"""Grids of broadened spectra: SPC nodes, computing grids with the emulator, reading and writing their files."""

from maury.grids.build import build_grid
from maury.grids.file import Grid, encode, open_grid, quantise, write_grid
from maury.grids.plan import NodesConfig
from maury.grids.spc import GridConfig

__all__ = ["Grid", "GridConfig", "NodesConfig", "build_grid", "encode", "open_grid", "quantise", "write_grid"]
