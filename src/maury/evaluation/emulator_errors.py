"""Test an emulator on stars that were not used in its fit: flux errors, and labels recovered by fits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from maury.emulator import Emulator, grid_for, rms_per_star
from maury.emulator.fitting import recover_labels
from maury.errors import FormatError
from maury.files import write_json
from maury.labels import LABELS
from maury.library import OFF_NODE, Library
from maury.plots import plot_emulator_error, plot_residuals, save_figure
from maury.progress import counted
from maury.training.emulator_fit import TEST, split, to_modes_of

TEFF_BINS = (3500.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 7000.0, 8000.0, 9750.0)


@dataclass(frozen=True)
class EmulatorReport:
    """Flux errors and recovered labels of test stars."""

    names: tuple[str, ...]  # the k labels
    labels: NDArray[np.float64]  # of the test stars (n, k)
    off_node: NDArray[np.bool_]  # whether a star lies between the nodes of the SPC grid (n,)
    rms: NDArray[np.float64]  # rms flux error of each star (n,)
    resolution: float  # R at which spectra were compared
    fitted: NDArray[np.int64] | None = None  # rows of ``labels`` that were fitted (m,), or None
    recovered: NDArray[np.float64] | None = None  # labels from the fits (m, k), or None


def unseen_rows(emulator: Emulator, labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of labels that were not used in the fit of ``emulator``: its test part, by the hash of the labels."""
    fractions = emulator.header["training"]
    part = split(labels, fractions["validation_fraction"], fractions["test_fraction"])
    return np.flatnonzero(part == TEST)


def evaluate_emulator(
    emulator: Emulator, library: Library, resolution: float, recover: bool, bar: Progress
) -> EmulatorReport:
    """Compare spectra, and fit those of 4500 to 7000 K, log g above 1, [M/H] above -1 when ``recover``.

    Raises:
        FormatError: the library has other labels or wavelengths than the emulator's, or holds no test star.
    """
    names = emulator.space.names
    missing = [name for name in names if name not in library.names]
    if missing:
        raise FormatError(f"{', '.join(library.sources[:3])}: no label {', '.join(missing)}, which the emulator has")
    grid = grid_for(library.wavelength_aa)
    if (grid.size, grid.step_kms) != (emulator.grid.size, emulator.grid.step_kms) or not np.isclose(
        grid.start_aa, emulator.grid.start_aa, rtol=0, atol=1e-4
    ):
        raise FormatError(f"{', '.join(library.sources[:3])}: not on the wavelengths that the emulator was fitted to")
    rows = unseen_rows(emulator, library.labels)
    if not rows.size:
        raise FormatError(f"{', '.join(library.sources[:3])}: no star of the emulator's test part among {len(library)}")
    tested = library.subset(rows)
    modes = torch.from_numpy(to_modes_of(tested, counted(bar, "comparing spectra", len(tested))))
    table = np.stack([tested.column(name) for name in names], axis=-1)
    labels = torch.from_numpy(table).float()
    rms = rms_per_star(emulator, labels, modes, resolution)
    result = EmulatorReport(names, table, tested.kind == OFF_NODE, rms, resolution)
    if not recover:
        return result
    fitted = np.flatnonzero(_well_behaved(tested) & result.off_node)
    if not fitted.size:
        return result
    step = counted(bar, "fitting spectra", len(fitted))
    recovered = [recover_labels(emulator, modes[i : i + 1], labels[i : i + 1], resolution, step) for i in fitted]
    return replace(result, fitted=fitted, recovered=torch.cat(recovered).double().numpy())


def _well_behaved(library: Library) -> NDArray[np.bool_]:
    """Stars of 4500 to 7000 K, log g above 1 and [M/H] above -1, as far as the library has these labels (n,)."""
    good = np.ones(len(library), bool)
    for name, low, high in (("teff", 4500, 7000), ("logg", 1 + 1e-9, np.inf), ("mh", -1 + 1e-9, np.inf)):
        if name in library.names:
            good &= (library.column(name) >= low) & (library.column(name) <= high)
    return good


def summary(result: EmulatorReport) -> dict[str, Any]:
    """Medians and 90th percentiles of the flux error by Teff, and of the absolute errors of recovered labels."""

    def percentiles(values: NDArray[np.float64]) -> dict[str, float | int | None]:
        if not values.size:
            return {"stars": 0, "median": None, "p90": None}
        return {
            "stars": int(values.size),
            "median": float(np.median(values)),
            "p90": float(np.quantile(values, 0.9)),
        }

    report: dict[str, Any] = {
        "resolution": result.resolution,
        "flux_rms": {"all": percentiles(result.rms[result.off_node])},
        "flux_rms_nodes": percentiles(result.rms[~result.off_node]),
    }
    if "teff" in result.names:
        teff = result.labels[:, result.names.index("teff")]
        for low, high in [(4500.0, 9750.1), (3500.0, 4500.0), *pairwise(TEFF_BINS)]:
            chosen = result.off_node & (teff >= low) & (teff < high)
            report["flux_rms"][f"{low:.0f}-{high:.0f} K"] = percentiles(result.rms[chosen])
    if result.fitted is not None and result.recovered is not None and len(result.fitted):
        error = result.recovered - result.labels[result.fitted]
        report["recovered"] = {
            name: {
                "unit": LABELS[name].unit,
                "stars": len(error),
                "median_abs": float(np.median(np.abs(column))),
                "bias": float(np.median(column)),
                "p90_abs": float(np.quantile(np.abs(column), 0.9)),
            }
            for name, column in zip(result.names, error.T, strict=True)
        }
    return report


def report_tables(result: EmulatorReport) -> list[Table]:
    """The summary as tables for the screen."""
    report = summary(result)
    table = Table("Teff", "test stars", "median rms", "90th percentile")
    table.title = f"Flux error on off-node stars never touched, R = {result.resolution:,.0f}"
    for name, row in report["flux_rms"].items():
        if row["stars"]:
            table.add_row(name, str(row["stars"]), f"{row['median']:.4f}", f"{row['p90']:.4f}")
    tables = [table]
    if "recovered" in report:
        fits = Table("label", "unit", "stars", "median |error|", "median error", "90th percentile of |error|")
        fits.title = "Labels from noise-free fits, all labels and continuum free (4500-7000 K, log g > 1, [M/H] > -1)"
        for name, row in report["recovered"].items():
            digits = 1 if name == "teff" else 3
            values = [f"{row[key]:.{digits}f}" for key in ("median_abs", "bias", "p90_abs")]
            fits.add_row(name, row["unit"], str(row["stars"]), *values)
        tables.append(fits)
    return tables


def write_report(result: EmulatorReport, folder: str | os.PathLike[str]) -> None:
    """Write ``emulator.json`` and figures of the flux error against the labels and of recovered labels.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_json(Path(folder) / "emulator.json", summary(result))
    figure = plot_emulator_error(
        result.labels[:, :6], result.rms, result.names[:6], title="Stars never touched by the fit"
    )
    save_figure(figure, Path(folder) / "emulator-error")
    if result.fitted is not None and result.recovered is not None and len(result.fitted):
        names = result.names[:4]
        figure = plot_residuals(
            result.labels[result.fitted, :4], result.recovered[:, :4], names, title="Labels from noise-free fits"
        )
        save_figure(figure, Path(folder) / "emulator-recovery")
