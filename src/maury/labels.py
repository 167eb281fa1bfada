"""The label space: names, units, ranges and normalisation of what maury infers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.errors import DomainError, FormatError


@dataclass(frozen=True)
class Label:
    """One stellar parameter: its short name, symbol, unit and the range of the packaged library."""

    name: str
    symbol: str
    unit: str
    lower: float
    upper: float
    description: str


_ALL = (
    Label("teff", r"$T_\mathrm{eff}$", "K", 3500.0, 9750.0, "effective temperature"),
    Label("logg", r"$\log g$", "dex(cm/s2)", 0.0, 5.0, "surface gravity, log10 of cm s-2"),
    Label("mh", "[M/H]", "dex", -3.0, 0.5, "metallicity, all metals scaled together (Asplund et al. 2009)"),
    Label("vmic", r"$\xi$", "km/s", 0.2, 4.0, "microturbulence"),
    Label("c", "[C/M]", "dex", -0.6, 0.6, "carbon relative to the metallicity"),
    Label("mg", "[Mg/M]", "dex", -0.3, 0.7, "magnesium (O, Ne, Si, S follow) relative to the metallicity"),
    Label("ca", "[Ca/M]", "dex", -0.3, 0.7, "calcium relative to the metallicity"),
    Label("ti", "[Ti/M]", "dex", -0.3, 0.7, "titanium relative to the metallicity"),
    Label("cr", "[Cr/M]", "dex", -0.3, 0.3, "chromium relative to the metallicity"),
    Label("ni", "[Ni/M]", "dex", -0.3, 0.3, "nickel relative to the metallicity"),
    Label("na", "[Na/M]", "dex", -0.8, 0.8, "sodium relative to the metallicity"),
    Label("sc", "[Sc/M]", "dex", -0.8, 0.8, "scandium relative to the metallicity"),
    Label("mn", "[Mn/M]", "dex", -0.8, 0.8, "manganese relative to the metallicity"),
    Label("co", "[Co/M]", "dex", -0.8, 0.8, "cobalt relative to the metallicity"),
    Label("cu", "[Cu/M]", "dex", -0.8, 0.8, "copper relative to the metallicity"),
    Label("y", "[Y/M]", "dex", -1.5, 1.5, "yttrium relative to the metallicity"),
    Label("nd", "[Nd/M]", "dex", -1.5, 1.5, "neodymium relative to the metallicity"),
    Label("vsini", r"$v\,\sin i$", "km/s", 0.0, 200.0, "projected rotational velocity"),
    Label("alpha", r"[$\alpha$/M]", "dex", -0.4, 1.2, "alpha elements together (O, Ne, Mg, Si, S, Ca, Ti) / metals"),
    Label("vmac", r"$\zeta$", "km/s", 0.0, 10.0, "radial-tangential macroturbulence"),
)
LABELS: dict[str, Label] = {label.name: label for label in _ALL}
"""Every label by name, in the order in which they stand in tables."""

INTRINSIC: tuple[str, ...] = tuple(LABELS)[:10]
"""Labels of a spectrum before rotation and instrument: those of the packaged library and emulator.

Libraries of other physics may have fewer of them, or ``alpha`` for all alpha elements together.
"""

FURTHER_ELEMENTS: tuple[str, ...] = tuple(LABELS)[10:17]
"""Elements of the packaged library that the networks do not infer; refinement does."""

SYNTHESISED: tuple[str, ...] = (*INTRINSIC, *FURTHER_ELEMENTS)
"""All labels that a spectrum can be synthesised for, in the order of the arrays of `maury.synthesis`."""


def is_packaged(names: Iterable[str]) -> bool:
    """Whether these are the labels of the packaged library: the ten of its first edition, or with further elements."""
    return tuple(names) in (INTRINSIC, SYNTHESISED)


ALPHA: tuple[str, ...] = ("mg", "ca", "ti")
"""Labels whose mean is [alpha/M] in models without a label ``alpha``."""

FOUNDING: tuple[str, ...] = ("teff", "logg", "mh", "vsini")
"""The four labels of the founding network."""

_LOWEST_LOGG_TEFF = (3500.0, 6000.0, 6250.0, 7500.0, 7750.0, 8250.0, 8500.0, 9000.0, 9250.0, 9750.0)
_LOWEST_LOGG = (0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0)


def named(column: str) -> str:
    """Name of the label of a table's column: ``mg`` for ``mg_fe``, as [Mg/M] equals [Mg/Fe]."""
    label = column.removesuffix("_fe")
    return label if label in LABELS else column


def lowest_logg(teff: ArrayLike) -> NDArray[np.float64]:
    """Lowest log g (dex, cgs) of the model atmospheres at ``teff`` (K): it rises with temperature."""
    return np.interp(np.asarray(teff, float), _LOWEST_LOGG_TEFF, _LOWEST_LOGG)


def usual_vmic(teff: Any, logg: Any) -> Any:
    """Microturbulence (km/s) that is usual at ``teff`` (K) and ``logg``; numbers, arrays or tensors, at least 0.3.

    1 in dwarfs, 0.25 more for each dex of log g below 4.5, 0.35 more for each 1000 K above 5500 K, and in dwarfs 0.5
    less for each 1000 K below 5000 K: with the 1 km/s of the Sun, strong lines of M dwarfs are too strong.
    """

    def positive(x: Any) -> Any:
        return 0.5 * (x + abs(x))

    dwarf = 1 - positive(1 - positive((logg - 3) / 1.5))
    mean = 1 + 0.25 * (4.5 - logg) + 0.35 * positive(teff / 1000 - 5.5) - 0.5 * dwarf * positive(5 - teff / 1000)
    return 0.3 + positive(mean - 0.3)


@dataclass(frozen=True)
class LabelSpace:
    """An ordered subset of the labels with the ranges that normalise it.

    Normalised labels are ``(x - lower) / (upper - lower)``: 0 and 1 at the ends of the range, as in the founding
    project.

    Attributes:
        names: label names in the order of the columns.
        lower: lower ends of the ranges, one per name, in the label's unit.
        upper: upper ends of the ranges.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in LABELS]
        if unknown:
            raise DomainError(f"unknown label {', '.join(unknown)}; allowed: {', '.join(LABELS)}")
        if not len(self.names) == len(self.lower) == len(self.upper):
            raise DomainError(
                f"a label space needs one range per label, got {len(self.names)} names, "
                f"{len(self.lower)} lower and {len(self.upper)} upper ends"
            )
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            if not low < high:
                raise DomainError(f"range of {name} is empty: [{low:g}, {high:g}] {LABELS[name].unit}")

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelSpace:
        """The space of ``names`` with the packaged ranges."""
        names = tuple(names)
        known = [LABELS.get(name) for name in names]
        return cls(names, tuple(k.lower if k else 0.0 for k in known), tuple(k.upper if k else 1.0 for k in known))

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> LabelSpace:
        """The space that a checkpoint's header holds under ``labels``."""
        names, lower, upper = (tuple(header["labels"][key]) for key in ("names", "lower", "upper"))
        return cls(names, lower, upper)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each label as a string that astropy reads."""
        return tuple(LABELS[name].unit for name in self.names)

    def normalise(self, values: Any) -> Any:
        """Map labels (..., n) in their units to 0..1 over their ranges; works on arrays and tensors."""
        lower, width = self._scale(values)
        return (values - lower) / width

    def denormalise(self, values: Any) -> Any:
        """Inverse of `normalise`."""
        lower, width = self._scale(values)
        return values * width + lower

    def _scale(self, like: Any) -> tuple[Any, Any]:
        lower, width = np.array(self.lower), np.subtract(self.upper, self.lower)
        if hasattr(like, "new_tensor"):
            return like.new_tensor(lower), like.new_tensor(width)
        return lower, width

    def subset(self, names: Iterable[str]) -> LabelSpace:
        """The space of some of its labels, in the order given.

        Raises:
            DomainError: a label is not in the space.
        """
        names = tuple(names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DomainError(f"no label {', '.join(missing)}; there are {', '.join(self.names)}")
        rows = [self.names.index(name) for name in names]
        return LabelSpace(names, tuple(self.lower[i] for i in rows), tuple(self.upper[i] for i in rows))

    def require_inside(self, values: ArrayLike, what: str = "labels") -> None:
        """Check that all rows of ``values`` (n, len(self)) are finite and inside the ranges.

        Raises:
            DomainError: names the first offending row, label, value and the allowed range.
        """
        table = np.atleast_2d(np.asarray(values, float))
        if table.shape[-1] != len(self):
            raise DomainError(f"{what}: {table.shape[-1]} columns, but the labels are {', '.join(self.names)}")
        lower, upper = np.array(self.lower), np.array(self.upper)
        tolerance = 1e-6 * (upper - lower)
        bad = ~((table >= lower - tolerance) & (table <= upper + tolerance))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise DomainError(
                f"{what}: row {row + 1}: {self.names[column]} = {table[row, column]:g} {self.units[column]} is outside "
                f"the allowed range {lower[column]:g} to {upper[column]:g} "
                f"({int(bad.any(1).sum())} of {len(table)} rows are outside)"
            )


def tensor_axes(table: NDArray[np.float64], sparsest: float = 0.2) -> list[NDArray[np.float64]] | None:
    """The values of each column if the rows are nodes of a tensor grid, perhaps with holes, else None.

    Args:
        table: labels (n, k).
        sparsest: least share of the nodes of the tensor grid that must be present.
    """
    axes = [np.unique(column) for column in table.T]
    return axes if len(table) >= sparsest * np.prod([float(len(axis)) for axis in axes]) else None


def missing_nodes(table: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Nodes (m, k) of the tensor grid of all values in each column that no row (n, k) has; None if there is no grid."""
    axes = tensor_axes(table)
    if axes is None:
        return None
    shape = tuple(len(axis) for axis in axes)
    there = np.zeros(shape, bool)
    there[tuple(np.searchsorted(axis, column) for axis, column in zip(axes, table.T, strict=True))] = True
    holes = np.argwhere(~there)
    return np.stack([axis[rows] for axis, rows in zip(axes, holes.T, strict=True)], axis=-1).reshape(-1, len(axes))


def as_table(table: Mapping[str, Any] | np.ndarray, names: Iterable[str], where: str) -> NDArray[np.float64]:
    """Stack named columns into an array (n, len(names)).

    Args:
        table: a structured array or a mapping from column names to sequences.
        names: columns, in the order of the result.
        where: name of the table in errors (usually the file's name).

    Raises:
        FormatError: a column is missing, holds an empty cell or something that is not a number, or has another length.
    """
    names = list(names)
    have = list(table.dtype.names or ()) if isinstance(table, np.ndarray) else list(table)
    missing = [name for name in names if name not in have]
    if missing:
        raise FormatError(f"{where}: missing column {', '.join(missing)}; columns found: {', '.join(have) or 'none'}")
    columns = []
    for name in names:
        empty = np.flatnonzero(np.ma.getmaskarray(table[name]))
        if empty.size:
            raise FormatError(f"{where}: column {name} is empty in row {empty[0] + 1}")
        try:
            columns.append(np.asarray(table[name], dtype=float))
        except (TypeError, ValueError) as error:
            raise FormatError(f"{where}: column {name} is not a number in every row ({error})") from error
        if columns[-1].shape != columns[0].shape:
            raise FormatError(
                f"{where}: column {name} {columns[-1].shape} and {names[0]} {columns[0].shape} differ in shape"
            )
    return np.stack(columns, axis=-1)
