"""How well a star's labels can be known at best: the Cramer-Rao bound for one star, and over the Kiel diagram."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from torch import Tensor

from maury.emulator import MAX_RESOLUTION, REFERENCE_RESOLUTION, Emulator, NetworkPixels
from maury.emulator.domain import atmosphere_exists, require_fixed, require_known
from maury.emulator.label_tables import check_resolution
from maury.errors import DomainError
from maury.evaluation.bound import (
    STEP_KMS,
    Floats,
    combination,
    derivatives,
    fisher,
    free_columns,
    pixel_sigma,
    prior_precision,
    smallest_errors,
)
from maury.evaluation.metrics import error_unit
from maury.files import atomic_path
from maury.labels import FOUNDING, LabelSpace, usual_vmic
from maury.likelihood import ErrorModel, NoiseModel, usable
from maury.pixelspectra import PixelSpectra
from maury.progress import Advance, silent
from maury.simulation import SimulationSettings, Simulator

SUN = {"teff": 5772.0, "logg": 4.44}
"""Default labels of a star: the Sun's."""

MAP_TEFF_K, MAP_LOGG = 125.0, 0.25
"""Steps of the map."""

_DRAWS, _SEED = 4096, 1
_BATCH = 16
_FINEST_KMS = 1.0


@dataclass(frozen=True)
class Limits:
    """Smallest standard deviations of a star's labels.

    Attributes:
        star: its labels.
        names: the k labels.
        resolution: R = lambda / FWHM.
        snr: S/N of the continuum per 2.3 km/s.
        errors: standard deviations (len(snr), k), 0 for a held label.
        prior: standard deviations (k,) without any spectrum, 0 for a held label.
        fixed: labels that were held.
        model_error: whether errors of the physics are included.
    """

    star: Mapping[str, float]
    names: tuple[str, ...]
    resolution: float
    snr: tuple[float, ...]
    errors: Floats
    prior: Floats
    fixed: tuple[str, ...]
    model_error: bool

    def record(self) -> dict[str, Any]:
        """Plain JSON values; errors by label, in the order of ``snr``."""
        return {
            "star": dict(self.star),
            "resolution": self.resolution,
            "snr": list(self.snr),
            "step_kms": STEP_KMS,
            "fixed": list(self.fixed),
            "model_error": self.model_error,
            "errors": {name: self.errors[:, k].tolist() for k, name in enumerate(self.names)},
            "prior": dict(zip(self.names, self.prior.tolist(), strict=True)),
            "units": {name: error_unit(name) for name in self.names},
        }

    def table(self) -> Table:
        """A row for each label."""
        columns = {f"snr_{snr:g}": self.errors[i] for i, snr in enumerate(self.snr)}
        units = [error_unit(name) for name in self.names]
        table = Table({"label": self.names, "unit": units, **columns, "prior": self.prior})
        table.meta.update({k: v for k, v in self.record().items() if k not in ("errors", "prior", "names", "units")})
        return table


def simulator_at(emulator: Emulator, resolution: float) -> Simulator:
    """A simulator on the default network's pixels, or on the emulator's finest pixels where R is too high for those.

    Raises:
        DomainError: R is too high for the emulator.
    """
    check_resolution(resolution, emulator)
    low, high = SimulationSettings().resolution
    limit = min(high, emulator.native_resolution)
    settings = SimulationSettings(resolution=(min(low, limit), limit))
    if resolution <= REFERENCE_RESOLUTION:
        return Simulator(emulator, settings)
    step = max(_FINEST_KMS, emulator.grid.step_kms)
    return Simulator(emulator, settings, pixels=NetworkPixels.of(emulator, step, MAX_RESOLUTION))


def star_labels(emulator: Emulator, simulator: Simulator, given: Mapping[str, float]) -> Tensor:
    """Labels (1, k) of the simulator for those given.

    The other labels are the Sun's Teff and log g, 0 for metallicity and abundances, and a usual microturbulence.

    Raises:
        DomainError: a label is outside the domain, or has another value than the one to which the emulator fixes it.
    """
    require_fixed(emulator, given, "star")
    values = {**SUN, **given}
    values = {"vmic": usual_vmic(values["teff"], values["logg"]), **values}
    own = [values.get(name, 0.0) for name in emulator.space.names]
    require_known(emulator, [own], "star")
    broadening = [values.get("vsini", 0.0), values.get("vmac", 0.0)]
    LabelSpace.of(["vsini", "vmac"]).require_inside([broadening], "star")
    row = dict(zip((*emulator.space.names, "vsini", "vmac"), own + broadening, strict=True))
    if "alpha" in simulator.labels and "alpha" not in row:
        row["alpha"] = float(np.mean([row[name] for name in ("mg", "ca", "ti")]))
    return torch.tensor([[row[name] for name in simulator.labels]])


class Bound:
    """The Cramer-Rao bound for any star in a simulator's domain, marginalised over the nuisances.

    Noise is white and of one size. Continuum, radial velocity, zero level and resolution have the amplitudes of the
    simulation's settings (`maury.likelihood.ErrorModel`) and are integrated out.

    Attributes:
        simulator: the physics.
        resolution: R = lambda / FWHM.
        names: labels whose errors are given.
        fixed: labels that are known, and held fixed.
        model_error: whether errors of the physics and the emulator are included.
        columns: columns of the free labels.
        precision: inverse covariance of the prior of the free labels, given the fixed ones.
    """

    def __init__(
        self, simulator: Simulator, resolution: float, fixed: Sequence[str] = (), model_error: bool = False
    ) -> None:
        """Draw from the prior.

        Raises:
            DomainError: a label that cannot be held.
        """
        self.simulator, self.resolution = simulator, resolution
        self.fixed, self.model_error, self.names = tuple(fixed), model_error, simulator.labels
        every, self.columns = free_columns(simulator), free_columns(simulator, fixed)
        drawn = simulator.draw_labels(_DRAWS, torch.Generator().manual_seed(_SEED))
        rows = [every.index(column) for column in self.columns]
        self.precision = prior_precision(drawn, every)[np.ix_(rows, rows)]
        self._errors = ErrorModel(simulator, model_error)

    @property
    def free(self) -> tuple[str, ...]:
        """Labels that are free."""
        return tuple(self.simulator.labels[i] for i in self.columns)

    def slopes(self, labels: Tensor) -> Floats:
        """Derivatives (n, k, p) of the flux of stars (n, all) by the free labels."""
        return np.asarray(derivatives(self.simulator, labels, self.resolution)[:, self.columns].double().numpy())

    def whiten(self, labels: Tensor, snr: float) -> NoiseModel:
        """Noise and nuisances about the spectrum of a star (1, all)."""
        flux = self.simulator.spectra(labels, torch.tensor([self.resolution]))[0].double()
        sigma = float(pixel_sigma(self.simulator, snr))
        star = usable(PixelSpectra(flux=flux, sigma=sigma, resolution=self.resolution))
        return self._errors.whiten(star, labels[0], fit=False)

    def errors(self, labels: Tensor, snr: float, names: Sequence[str], slopes: Floats | None = None) -> Floats:
        """Standard deviations (w,) of some labels of a star (1, all), 0 where held."""
        slopes = self.slopes(labels)[0] if slopes is None else slopes
        noise = self.whiten(labels, snr)
        information = fisher(slopes, noise.weight.numpy(), noise.projector.numpy())
        return smallest_errors(information, self.precision, self._combinations(names))

    def prior(self, names: Sequence[str]) -> Floats:
        """Standard deviations (w,) of some labels without any spectrum, 0 where held."""
        return smallest_errors(np.zeros_like(self.precision), self.precision, self._combinations(names))

    def _combinations(self, names: Sequence[str]) -> Floats:
        return np.array([combination(name, self.free) for name in names])


def limits(bound: Bound, labels: Tensor, snr: Sequence[float]) -> Limits:
    """Smallest standard deviations of all labels of a star (1, all) at several S/N.

    Raises:
        DomainError: a S/N that is not positive and finite.
    """
    slopes = bound.slopes(labels)[0]
    errors = np.array([bound.errors(labels, value, bound.names, slopes) for value in snr])
    star = dict(zip(bound.names, labels[0].double().round(decimals=4).tolist(), strict=True))
    return Limits(
        star, bound.names, bound.resolution, tuple(snr), errors, bound.prior(bound.names), bound.fixed,
        bound.model_error,
    )  # fmt: skip


def map_nodes(emulator: Emulator) -> Floats:
    """Teff and log g (n, 2) over the emulator's domain, where it has spectra.

    Raises:
        DomainError: an emulator without Teff or log g.
    """
    names = emulator.space.names
    missing = [name for name in ("teff", "logg") if name not in names]
    if missing:
        raise DomainError(f"a map over the Kiel diagram needs the label {', '.join(missing)}, which the emulator lacks")
    axes = []
    for name, step in (("teff", MAP_TEFF_K), ("logg", MAP_LOGG)):
        row = names.index(name)
        low, high = emulator.space.lower[row], emulator.space.upper[row]
        axes.append(np.linspace(low, high, max(2, round((high - low) / step) + 1)))
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    middle = (np.array(emulator.space.lower) + np.array(emulator.space.upper)) / 2
    table = np.tile(middle, (len(nodes), 1))
    table[:, [names.index("teff"), names.index("logg")]] = nodes
    return np.asarray(nodes[atmosphere_exists(emulator, table)])


def limits_map(
    bound: Bound,
    emulator: Emulator,
    given: Mapping[str, float],
    snr: float,
    nodes: Floats,
    advance: Advance = silent,
) -> Table:
    """Smallest standard deviations of the free ones of the four main labels, at nodes (n, 2) of Teff and log g.

    Args:
        bound: physics, free labels and errors.
        emulator: the emulator of its simulator.
        given: other labels of all stars.
        snr: S/N of the continuum per 2.3 km/s.
        nodes: from `map_nodes`.
        advance: called with the number of nodes done.

    Returns:
        Columns ``teff``, ``logg`` and ``teff_err`` and so on, with units.

    Raises:
        DomainError: a label outside the domain, or none of the four is free.
    """
    names = [name for name in FOUNDING if name in bound.free]
    if not names:
        raise DomainError(f"none of {', '.join(FOUNDING)} is free: there is nothing to map")
    rows = []
    for first in range(0, len(nodes), _BATCH):
        stars = [{**given, "teff": float(teff), "logg": float(logg)} for teff, logg in nodes[first : first + _BATCH]]
        labels = torch.cat([star_labels(emulator, bound.simulator, star) for star in stars])
        for star, slopes in zip(labels.split(1), bound.slopes(labels), strict=True):
            rows.append(bound.errors(star, snr, names, slopes))
        advance(len(stars))
    table = Table({"teff": nodes[:, 0], "logg": nodes[:, 1]}, units={"teff": "K", "logg": "dex"})
    for name, values in zip(names, np.array(rows).T, strict=True):
        table[f"{name}_err"] = values
        table[f"{name}_err"].unit = error_unit(name)
    table.meta.update(
        resolution=bound.resolution, snr=snr, step_kms=STEP_KMS, fixed=list(bound.fixed),
        model_error=bound.model_error, star=dict(given),
    )  # fmt: skip
    return table


def map_title(meta: Mapping[str, Any]) -> str:
    """What a map holds, from the meta of `limits_map`."""
    star = meta["star"]
    what = "with errors of the synthetic spectra" if meta["model_error"] else "noise alone"
    held = f", {', '.join(meta['fixed'])} held" if meta["fixed"] else ""
    return (
        f"R = {meta['resolution']:,.0f}, S/N {meta['snr']:g} per {meta['step_kms']:g} km/s, [M/H] = {star['mh']:g}, "
        f"v sin i = {star['vsini']:g} km/s, {what}{held}"
    )


def write_limits(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table as ECSV, numbers to five digits.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        rounded = table.copy()
        for name in rounded.colnames:
            if rounded[name].dtype.kind == "f":
                rounded[name][:] = [float(f"{value:.5g}") for value in rounded[name]]
        rounded.write(temporary, format="ascii.ecsv", overwrite=True)
