"""Line lists: convert, merge and check them, and calibrate log gf on standard stars."""

from maury.lines.check import Finding, check_lines, species_table
from maury.lines.strong import STRONG_LINES, deepest_lines, named_lines
from maury.lines.unexplained import unexplained_mask
from maury.synthesis.changes import (
    Changes,
    apply_changes,
    change_of,
    make_changes,
    read_changes,
    without_partner,
    write_changes,
)
from maury.synthesis.linefile import LineFile, read_line_file

__all__ = [
    "STRONG_LINES",
    "Changes",
    "Finding",
    "LineFile",
    "apply_changes",
    "change_of",
    "check_lines",
    "deepest_lines",
    "make_changes",
    "named_lines",
    "read_changes",
    "read_line_file",
    "species_table",
    "unexplained_mask",
    "without_partner",
    "write_changes",
]
