"""Grid of model atmospheres, interpolated layer by layer; models may be missing; labels outside it raise an error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maury.errors import DomainError, FormatError
from maury.synthesis.modelfiles import BOLTZMANN, ModelFile, read_models
from maury.wavelengths import Floats

MASS_PER_ATOM = 1.2566 * 1.6735575e-24
"""Mean mass of an atom (g) in hydrogen with a tenth of helium: for ATLAS9, whose files have no density."""

_SHOWN = 5


@dataclass(frozen=True)
class Atmosphere:
    """A plane-parallel model atmosphere, from the top down.

    Attributes:
        teff: K.
        logg: log10 of cm s-2.
        mh: metallicity, dex.
        column_mass: g cm-2 (layers,).
        temperature: K (layers,).
        atoms: number density of atoms, ions and molecules, P / kT minus that of electrons, cm-3 (layers,).
        electrons: number density of electrons, cm-3 (layers,).
        density: mass density of the gas, g cm-3 (layers,).
        extrapolated: log g lies below the lowest model.
    """

    teff: float
    logg: float
    mh: float
    column_mass: Floats
    temperature: Floats
    atoms: Floats
    electrons: Floats
    density: Floats
    extrapolated: bool = False


@dataclass
class AtmosphereGrid:
    """Model atmospheres of one microturbulence by Teff, log g and [M/H].

    In each layer, T and the logarithms of column mass, gas pressure and electron density (for MARCS models also mass
    density) are interpolated linearly: between the two neighbouring [M/H], at each of them between the two neighbouring
    Teff, and at each of those between the two neighbouring log g.

    Attributes:
        source: folder or archive.
        digest: its SHA-256.
        vturb: microturbulence of the models, km/s.
        extrapolate_logg: allow log g below the lowest model of a column, linearly from the two lowest.
        extrapolate_mh: allow [M/H] below the lowest models, whose structure is then used.
        models: models by Teff, log g and [M/H].
        notes: what was left out.
    """

    source: str
    digest: str
    vturb: float
    extrapolate_logg: bool
    extrapolate_mh: bool
    models: dict[tuple[float, float, float], ModelFile]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns: dict[float, dict[float, list[float]]] = {}
        for teff, logg, mh in sorted(self.models):
            columns.setdefault(mh, {}).setdefault(teff, []).append(logg)
        self._columns = columns
        self._layers: dict[tuple[float, float, float], Floats] = {}

    def corners(self, teff: float, logg: float, mh: float) -> tuple[list[tuple[float, ModelFile]], bool]:
        """Models and their weights for one star; whether log g is extrapolated.

        Raises:
            DomainError: outside the grid.
        """
        parts: list[tuple[float, ModelFile]] = []
        extrapolated = False
        metals = max(mh, min(self._columns)) if self.extrapolate_mh else mh
        for m, weight_m in _bracket(list(self._columns), metals, "mh", ""):
            column = self._columns[m]
            for t, weight_t in _bracket(list(column), teff, "teff", f" at mh = {m:g}"):
                heights = column[t]
                low = logg < heights[0] and self.extrapolate_logg and len(heights) > 1
                where = f" at teff = {t:g}, mh = {m:g}"
                for g, weight_g in _bracket(heights, logg, "logg", where, extrapolate=low):
                    parts.append((weight_m * weight_t * weight_g, self.models[t, g, m]))
                extrapolated |= low
        return parts, extrapolated

    def __call__(self, teff: float, logg: float, mh: float) -> Atmosphere:
        """The atmosphere of one star.

        Raises:
            DomainError: outside the grid.
            FormatError: the layers of a model cannot be read.
        """
        parts, extrapolated = self.corners(teff, logg, mh)
        for _, model in parts:
            if model.node not in self._layers:
                self._layers[model.node] = model.layers()
        tables = [self._layers[model.node] for _, model in parts]
        deepest = max(len(table) for table in tables)
        for i, (table, (_, model)) in enumerate(zip(tables, parts, strict=True)):
            if len(table) == deepest - 1:  # a model that was stored without its top layer
                tables[i] = np.vstack([2 * table[0] - table[1], table])
            elif len(table) < deepest:
                raise FormatError(f"{model.name}: {len(table)} layers, but its neighbours have {deepest}")
        x = np.einsum("i,ijk->jk", [weight for weight, _ in parts], np.stack(tables))
        temperature, electrons = x[:, 1], np.exp(x[:, 3])
        atoms = np.exp(x[:, 2]) / (BOLTZMANN * temperature) - electrons
        density = np.exp(x[:, 4]) if x.shape[1] > 4 else atoms * MASS_PER_ATOM
        return Atmosphere(teff, logg, mh, np.exp(x[:, 0]), temperature, atoms, electrons, density, extrapolated)

    def check(self, labels: Floats, what: str = "labels") -> NDArray[np.bool_]:
        """Check that all stars lie within the grid; return a mask (n,) of those with extrapolated log g.

        Args:
            labels: labels in the order of `maury.labels.INTRINSIC` (n, 10).
            what: name of the labels in error messages.

        Raises:
            DomainError: rows lie outside; the message lists them.
        """
        bad: list[str] = []
        extrapolated = np.zeros(len(labels), bool)
        for row, (teff, logg, mh) in enumerate(labels[:, :3].tolist()):
            try:
                extrapolated[row] = self.corners(teff, logg, mh)[1]
            except DomainError as error:
                bad.append(f"row {row + 1} (teff {teff:g}, logg {logg:g}, mh {mh:g}): {error}")
        if bad:
            more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
            hint = "" if self.extrapolate_logg else "; log g below the models is allowed by extrapolate_logg = true"
            hint += "" if self.extrapolate_mh else "; [M/H] below them by extrapolate_mh = true"
            raise DomainError(
                f"{what}: {len(bad)} of {len(labels)} rows lie outside the model atmospheres of {self.source}: "
                f"{'; '.join(bad[:_SHOWN])}{more}{hint}"
            )
        return extrapolated


def read_atmospheres(
    path: str | os.PathLike[str],
    vturb: float = 2.0,
    extrapolate_logg: bool = False,
    extrapolate_mh: bool = False,
) -> AtmosphereGrid:
    """Read a grid of ATLAS9 or MARCS models from a folder or a tar archive.

    Teff, log g, [M/H] and microturbulence come from the headers, not from the names of the files.

    Args:
        path: folder or archive.
        vturb: microturbulence, km/s; other models are skipped, with a note in `AtmosphereGrid.notes`.
        extrapolate_logg: allow log g below the lowest model.
        extrapolate_mh: allow [M/H] below the lowest models: the structure hardly changes there, as few metals are left
            that absorb or provide electrons.

    Raises:
        FormatError: nothing to read, a damaged header, no model with this microturbulence, two models with the same
            Teff, log g and [M/H], or models of two codes.
    """
    found, digest = read_models(path)
    kept: dict[tuple[float, float, float], ModelFile] = {}
    for model in found:
        if model.vturb != vturb:
            continue
        if model.node in kept:
            raise FormatError(
                f"{model.name} and {kept[model.node].name}: two models of teff {model.teff:g}, logg {model.logg:g}, "
                f"mh {model.mh:g}; leave one of them (of one composition, mass and geometry)"
            )
        kept[model.node] = model
    if not kept:
        have = ", ".join(f"{value:g}" for value in sorted({model.vturb for model in found}))
        raise FormatError(f"{path}: no model atmosphere has vturb = {vturb:g} km/s; found: {have}")
    codes = sorted({model.code for model in kept.values()})
    if len(codes) > 1:
        raise FormatError(f"{path}: models of {' and '.join(codes)} in one grid; keep them in folders of their own")
    notes = []
    if len(kept) < len(found):
        others = {model.vturb for model in found} - {vturb}
        which = ", ".join(f"{value:g}" for value in sorted(others))
        notes.append(
            f"{len(found) - len(kept)} of {len(found)} models left out: vturb {which} instead of {vturb:g} km/s"
        )
    return AtmosphereGrid(str(path), digest, vturb, extrapolate_logg, extrapolate_mh, kept, notes)


def _bracket(
    axis: list[float], value: float, name: str, where: str, *, extrapolate: bool = False
) -> list[tuple[float, float]]:
    """Neighbouring values of a sorted axis and their linear weights, if not zero; `DomainError` outside the axis."""
    inside = axis[0] <= value <= axis[-1]
    if not (inside or extrapolate):
        unit = " K" if name == "teff" else ""
        raise DomainError(f"{name} = {value:g} is outside {axis[0]:g} to {axis[-1]:g}{unit}{where}")
    if len(axis) == 1:
        return [(axis[0], 1.0)]
    j = int(np.clip(np.searchsorted(axis, value, side="right") - 1, 0, len(axis) - 2))
    fraction = (value - axis[j]) / (axis[j + 1] - axis[j])
    return [(a, w) for a, w in ((axis[j], 1 - fraction), (axis[j + 1], fraction)) if w != 0]
