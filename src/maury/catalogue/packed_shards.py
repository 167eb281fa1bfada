"""Make parts of a catalogue from HDF5 spectra on a network's pixels: read, check, predict in batches, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.catalogue.manifest import Output
from maury.catalogue.packed import DAMAGED, PackedFile, read_block, read_luminosity
from maury.catalogue.parts import write_part
from maury.catalogue.prediction_options import CatalogueConfig
from maury.catalogue.table_columns import REJECTS, Column, append, empty
from maury.errors import OutputError, in_one_line
from maury.inference import Posteriors, predict_batch, predict_pixels
from maury.inference.columns import column_of
from maury.inference.ready import LEAST_SNR
from maury.inference.single import SAMPLES
from maury.networks import load_cached, pixel_wavelengths
from maury.pixelspectra import PixelSpectra
from maury.preparation.resample import least_overlap

_ROWS = 1024
_WHOLE = 0.98
_EDGE = 0.01
_SHARPER = 1.01  # largest R of a spectrum over that of the network's pixels: allows for rounding
_SOME = 8
_USUAL_MEDIAN = (0.05, 3.0)


@dataclass(frozen=True)
class PackedShards:
    """Makes one part per call, from its number and rows; works in this or in a worker process.

    Attributes:
        config: settings, with absolute paths.
        output: where parts go.
        columns: of the results.
        about: metadata of each part.
    """

    config: CatalogueConfig
    output: Output
    columns: tuple[Column, ...]
    about: dict[str, Any]

    def __call__(self, shard: int, file: PackedFile, first: int, last: int) -> tuple[int, int]:
        """Make one part; if that fails, all of its spectra are rejected.

        Returns:
            Numbers of results and of rejects.

        Raises:
            OutputError: the part cannot be written.
        """
        try:
            return self._made(shard, file, first, last)
        except OutputError:
            raise
        except Exception as error:  # one bad file must not end the run
            return self.rejected(shard, file, first, last, in_one_line(error, file.path))

    def rejected(self, shard: int, file: PackedFile, first: int, last: int, reason: str) -> tuple[int, int]:
        """Write a part in which all spectra are rejected for one reason.

        Raises:
            OutputError: it cannot be written.
        """
        rejects = empty(REJECTS)
        for row, identifier in enumerate(file.ids(first, last), first):
            who = {"id": identifier or file.number(row), "file": file.path.name, "row": row}
            append(rejects, REJECTS, who | {"reason": reason})
        return write_shard(self.output, shard, self.columns, empty(self.columns), rejects, self.about)

    def _made(self, shard: int, file: PackedFile, first: int, last: int) -> tuple[int, int]:
        results, rejects = empty(self.columns), empty(REJECTS)
        with h5py.File(file.path) as opened:
            for start in range(first, last, _ROWS):
                stop = min(start + _ROWS, last)
                ids = file.ids(start, stop)
                for block, offset, reasons in _readable(opened, start, stop):
                    rows = range(start + offset, start + offset + len(reasons))
                    named = [(ids[row - start] or file.number(row), file.path.name, row) for row in rows]
                    lost = ["" if ids[row - start] else "its id is damaged in the file" for row in rows]
                    known = [reason or other for reason, other in zip(reasons, lost, strict=True)]
                    self._take(block, named, known, results, rejects, opened)
        return write_shard(self.output, shard, self.columns, results, rejects, self.about)

    def _take(
        self,
        block: PixelSpectra | None,
        named: Sequence[tuple[str, str, int]],
        reasons: list[str],
        results: dict[str, list[Any]],
        rejects: dict[str, list[Any]],
        opened: h5py.File,
    ) -> None:
        """Sort spectra of a file into results and rejects."""
        if block is not None:
            own = check(block, self._wavelength, self._sharpest)
            reasons = [before or now for before, now in zip(reasons, own, strict=True)]
        for (identifier, file, row), reason in zip(named, reasons, strict=True):
            if reason:
                append(rejects, REJECTS, {"id": identifier, "file": file, "row": row, "reason": reason})
        rows = [k for k, reason in enumerate(reasons) if not reason]
        if block is None or not rows:
            return
        spectra = block[rows]
        if self.config.refine:
            for k, (identifier, file, row) in enumerate(named[k] for k in rows):
                who = {"id": identifier, "file": file, "row": row}
                try:
                    values = self._refined(spectra[k], identifier, read_luminosity(opened, row))
                    append(results, self.columns, values | who)
                except Exception as error:  # one bad spectrum must not end the run
                    append(rejects, REJECTS, who | {"reason": in_one_line(error, identifier)})
            return
        found = predict_batch(spectra, self.config.model, samples=self.config.samples or 0, seed=self.config.seed)
        flags = flags_of(found, spectra.good.numpy(), self._space)
        _fill(results, self.columns, [named[k] for k in rows], found, flags, typical(spectra.sigma, spectra.mask))

    def _refined(self, star: PixelSpectra, identifier: str, luminosity: dict[str, Any]) -> dict[str, Any]:
        """Values of one spectrum by column."""
        result = predict_pixels(
            star, self.config.model, name=identifier, emulator=self.config.emulator,
            samples=self.config.samples or SAMPLES, seed=self.config.seed, labels=self.config.labels,
            components=self.config.components, **luminosity,
        )  # fmt: skip
        snr = 1 / float(star.sigma[star.good].median())
        return {**result.record(), **result.numbers(), "snr": snr, "flags": ",".join(result.flags)}

    @property
    def _header(self) -> dict[str, Any]:
        return load_cached(self.config.model)[1]

    @property
    def _wavelength(self) -> NDArray[np.float64]:
        return pixel_wavelengths(self._header)

    @property
    def _sharpest(self) -> float:
        return float(self._header["resolution"])

    @property
    def _space(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        labels = self._header["labels"]
        return np.asarray(labels["lower"], float), np.asarray(labels["upper"], float)


def write_shard(
    output: Output,
    shard: int,
    columns: Sequence[Column],
    results: dict[str, list[Any]],
    rejects: dict[str, list[Any]],
    about: dict[str, Any],
) -> tuple[int, int]:
    """Write rejects, then results: a part is finished when its file of results exists.

    Raises:
        OutputError: they cannot be written.
    """
    if rejects["id"]:
        write_part(output.rejects(shard), REJECTS, rejects, about)
    else:
        output.rejects(shard).unlink(missing_ok=True)
    write_part(output.part(shard), columns, results, about)
    return len(results["id"]), len(rejects["id"])


def _readable(file: h5py.File, first: int, last: int) -> list[tuple[PixelSpectra | None, int, list[str]]]:
    """Blocks of rows with their offset; one by one where a chunk of the file is damaged."""
    try:
        return [(read_block(file, first, last), 0, [""] * (last - first))]
    except DAMAGED as error:
        if last - first == 1:
            return [(None, 0, [f"damaged in the file ({' '.join(str(error).split())[:120]})"])]
    found = []
    for row in range(first, last):
        found += [(block, row - first, reasons) for block, _, reasons in _readable(file, row, row + 1)]
    return found


def check(block: PixelSpectra, wavelength_aa: NDArray[np.float64], sharpest: float) -> list[str]:
    """Why each spectrum cannot be used, or "".

    Args:
        block: m spectra.
        wavelength_aa: of the pixels (p,).
        sharpest: R of the sharpest spectra that the network takes.
    """
    good = block.good
    bad_flux = (good & ~block.flux.isfinite()).sum(1)
    bad_sigma = (good & ~((block.sigma > 0) & (block.sigma < torch.inf))).sum(1)
    low, high = float(wavelength_aa[0]), float(wavelength_aa[-1])
    least = least_overlap(low, high)
    covered = good.numpy() @ np.gradient(wavelength_aa)
    level, noise = typical(block.flux, block.mask), typical(block.sigma, block.mask)
    reasons = []
    for k, resolution in enumerate(block.resolution.tolist()):
        if bad_flux[k]:
            reason = f"flux is not finite in {bad_flux[k]} good pixels"
        elif bad_sigma[k]:
            reason = f"sigma is not finite and positive in {bad_sigma[k]} good pixels"
        elif not 500 <= resolution <= sharpest * _SHARPER:
            reason = f"resolution {resolution:g}: must be between 500 and {sharpest:g}, the network's"
        elif covered[k] < least:
            reason = (
                f"covers {covered[k]:.1f} Å of the window {low:.0f} to {high:.0f} Å; at least {least:g} Å are needed"
            )
        elif not noise[k] * LEAST_SNR <= 1:
            reason = f"signal-to-noise {1 / noise[k]:.1f} per pixel; at least {LEAST_SNR:g} is needed for parameters"
        elif not _USUAL_MEDIAN[0] <= level[k] <= _USUAL_MEDIAN[1]:
            reason = f"median flux {level[k]:g}: not in units of the continuum (about 1)"
        else:
            reason = ""
        reasons.append(reason)
    return reasons


def typical(values: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Medians (m,) over every eighth pixel of (m, p) that is not masked; NaN where there is none."""
    some = values[:, ::_SOME].masked_fill(mask[:, ::_SOME], torch.nan)
    return np.asarray(some.nanmedian(dim=1).values.numpy())


def flags_of(
    found: Posteriors, good: NDArray[np.bool_], space: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> list[str]:
    """Flags of each spectrum, separated by commas.

    Without samples, ``edge_<label>`` means that more than 16 % of the posterior lie within 1 % of an end of the range.
    """
    lower, upper = space
    margin = _EDGE * (upper - lower)
    at_low, at_high = found.lower < lower + margin, found.upper > upper - margin
    at_low[:, [name == "vsini" for name in found.names]] = False  # slow rotation is an upper limit
    short, limit = good.mean(1) < _WHOLE, np.isfinite(found.vsini_upper)
    flags = []
    for k in range(len(good)):
        edges = [f"edge_{name}" for name, edge in zip(found.names, at_low[k] | at_high[k], strict=True) if edge]
        parts = [*(["short_coverage"] if short[k] else []), *edges, *(["vsini_upper_limit"] if limit[k] else [])]
        flags.append(",".join(parts))
    return flags


def _fill(
    results: dict[str, list[Any]],
    columns: Sequence[Column],
    named: Sequence[tuple[str, str, int]],
    found: Posteriors,
    flags: list[str],
    noise: NDArray[np.float32],
) -> None:
    """Add predicted spectra to the columns."""
    values: dict[str, Any] = dict(zip(("id", "file", "row"), zip(*named, strict=True), strict=True))
    for k, name in enumerate(found.names):
        low, high = found.lower[:, k], found.upper[:, k]
        label = column_of(name)
        values |= {label: found.median[:, k], f"{label}_lo": low, f"{label}_hi": high}
        values |= {f"{label}_err": (high - low) / 2, f"{label}_stat": (high - low) / 2}
        values[f"{label}_sys"] = np.full(len(low), np.nan)  # systematic errors are added in refinement only
    values |= {"vsini_upper": found.vsini_upper, "snr": 1 / noise, "flags": flags}
    for column in columns:
        results[column.name].extend(values[column.name])
