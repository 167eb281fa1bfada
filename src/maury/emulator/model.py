"""`Emulator`: a small ensemble of networks from labels to the coefficients of a basis of spectra."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from maury import checkpoints
from maury.broadening import cutoff, remaining_resolution, transfer
from maury.emulator.errormap import ErrorMap
from maury.emulator.sampling import Sampler
from maury.errors import DomainError
from maury.labels import INTRINSIC, LabelSpace
from maury.wavelengths import FOUNDING_END_AA, FOUNDING_START_AA, LogGrid

PACKAGED = checkpoints.MODELS / "emulator.safetensors"
"""The emulator that ships with maury."""

MAX_RESOLUTION = 115_000.0
"""Highest R for which the basis holds all frequencies that the instrument passes."""


def features(labels: Tensor, names: Sequence[str] = INTRINSIC) -> Tensor:
    """Features (..., f) of labels (..., k): inputs of the networks before they are standardised.

    Temperature enters as Teff and as 5040 K / Teff (excitation and ionisation scale as 10^(-E 5040 K / Teff), E in eV);
    metallicity as [M/H] and as 10^[M/H], to which weak lines are proportional. If [C/M] and [Mg/M] are labels, oxygen
    is added, which the packaged library ties to them, and C minus O for molecules. The ten labels of the packaged
    library make 14 features.

    Args:
        labels: labels in their units (..., k).
        names: the k labels.
    """
    columns = dict(zip(names, labels.unbind(-1), strict=True))
    result = []
    for name, column in columns.items():
        if name == "teff":
            result += [column / 1000, 5040 / column]
        elif name == "mh":
            result += [column, 10**column]
        else:
            result.append(column)
    if "c" in columns and "mg" in columns:
        oxygen = torch.maximum(columns["mg"], columns["c"] - 0.05)
        result += [oxygen, columns["c"] - oxygen]
    return torch.stack(result, -1)


class LabelNetworks(nn.Module):
    """An ensemble of equal residual networks, evaluated together as batched matrix products.

    One input layer, ``depth - 1`` residual layers ``x + silu(W x + b)`` of equal width, one linear output layer.
    """

    def __init__(self, members: int, inputs: int, width: int, depth: int, outputs: int, seed: int = 0) -> None:
        """Draw weights, normal with variance 1 / fan-in; biases are zero."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sizes = [inputs, *[width] * depth, outputs]
        self.weights = nn.ParameterList(
            torch.randn(members, a, b, generator=generator) / math.sqrt(a) for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (members, b, outputs) for inputs (members, b, inputs)."""
        x = nn.functional.silu(torch.baddbmm(self.biases[0], x, self.weights[0]))
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            x = x + nn.functional.silu(torch.baddbmm(bias, x, weight))
        return torch.baddbmm(self.biases[-1], x, self.weights[-1])


class Emulator(nn.Module):
    """Labels -> intrinsic continuum-normalised spectrum, as Fourier modes on a ln-wavelength grid.

    ``modes = mean + coefficients(labels) @ basis``, the coefficients averaged over the members of the ensemble.

    Attributes:
        space: the k labels and their ranges.
        fixed: labels that all spectra of the library share, with their values.
        window_aa: first and last wavelength for which spectra are valid, Å air; the grid adds margins for broadening.
        native_resolution: R of the library's spectra; infinite if they have no instrument profile.
        grid: the periodic grid; modes are the `rfft` of the flux on it.
        header: settings, training data and figures, from the checkpoint.
        errors: error map, measured on stars that the emulator was not trained on.
        frequency: frequencies (m,) of the modes, cycles per km/s.
    """

    mean: Tensor
    basis: Tensor
    frequency: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    coefficient_scale: Tensor

    def __init__(
        self,
        networks: LabelNetworks,
        grid: LogGrid,
        mean: Tensor,
        basis: Tensor,
        feature_scale: tuple[Tensor, Tensor],
        coefficient_scale: Tensor,
        header: dict[str, Any] | None = None,
        errors: ErrorMap | None = None,
        space: LabelSpace | None = None,
    ) -> None:
        """Make an emulator of its parts.

        Args:
            networks: networks from standardised features to coefficients divided by ``coefficient_scale``.
            grid: grid of the modes.
            mean: modes (m,) complex of the mean spectrum.
            basis: modes (c, m) complex of the components.
            feature_scale: mean and standard deviation (f,) of the features.
            coefficient_scale: factors (c,) from outputs of the networks to coefficients.
            header: header of the checkpoint; ``fixed``, ``window`` and ``resolution`` are read from it.
            errors: measured error map.
            space: the labels; without it the ten of the packaged library with their ranges.
        """
        super().__init__()
        self.space = space or LabelSpace.of(INTRINSIC)
        self.grid = grid
        self.networks = networks
        self.header = header or {}
        self.errors = errors
        self.register_buffer("mean", torch.view_as_real(mean).flatten())
        self.register_buffer("basis", torch.view_as_real(basis).flatten(1))
        self.register_buffer("feature_mean", feature_scale[0])
        self.register_buffer("feature_std", feature_scale[1])
        self.register_buffer("coefficient_scale", coefficient_scale)
        self.register_buffer("frequency", torch.from_numpy(grid.frequency).float())

    @property
    def fixed(self) -> dict[str, float]:
        """Labels that all spectra of the library share."""
        return {name: float(value) for name, value in self.header.get("fixed", {}).items()}

    @property
    def window_aa(self) -> tuple[float, float]:
        """First and last wavelength for which spectra are valid, Å air."""
        low, high = self.header.get("window", (FOUNDING_START_AA, FOUNDING_END_AA))
        return float(low), float(high)

    @property
    def native_resolution(self) -> float:
        """R = lambda / FWHM of the library's spectra."""
        return float(self.header.get("resolution") or math.inf)

    def member_coefficients(self, labels: Tensor) -> Tensor:
        """Coefficients (members, b, c) for labels (b, k), from each member of the ensemble."""
        x = (features(labels, self.space.names) - self.feature_mean) / self.feature_std
        return self.networks(x.expand(len(self.networks.biases[0]), -1, -1)) * self.coefficient_scale

    def coefficients(self, labels: Tensor) -> Tensor:
        """Coefficients (b, c) for labels (b, k) in their units, averaged over the ensemble."""
        return self.member_coefficients(labels).mean(0)

    def modes(self, labels: Tensor, count: int | None = None) -> Tensor:
        """Complex Fourier modes (b, m) of the intrinsic flux for labels (b, k): all, or the first ``count``."""
        return self.expand(self.coefficients(labels), count)

    def expand(self, coefficients: Tensor, count: int | None = None) -> Tensor:
        """Complex Fourier modes (b, m) of the spectra with coefficients (b, c): all, or the first ``count``."""
        stop = None if count is None else 2 * count
        flat = torch.addmm(self.mean[:stop], coefficients, self.basis[:, :stop])
        return torch.view_as_complex(flat.reshape(len(flat), -1, 2))

    def sampler(self, wavelength_aa: ArrayLike, resolution: float = MAX_RESOLUTION, average: int = 1) -> Sampler:
        """A `Sampler` at given wavelengths (Å) for resolutions up to ``resolution``."""
        return Sampler(self.grid, wavelength_aa, cutoff(resolution), average)

    def flux(
        self,
        labels: Tensor,
        vsini_kms: Tensor,
        resolution: Tensor,
        sampler: Sampler,
        vmac_kms: Tensor | None = None,
    ) -> Tensor:
        """Observed continuum-normalised flux (b, p): intrinsic spectrum, rotation, macroturbulence, instrument.

        Args:
            labels: labels (b, k) in their units.
            vsini_kms: projected rotational velocity (b,), km/s.
            resolution: R = lambda / FWHM (b,), at most `MAX_RESOLUTION`.
            sampler: gives the flux at its wavelengths.
            vmac_kms: radial-tangential macroturbulence (b,), km/s; None for 0.

        Raises:
            DomainError: a resolution above `MAX_RESOLUTION` or above that of the library.
        """
        limit = min(MAX_RESOLUTION, self.native_resolution)
        if bool((resolution > limit).any()):
            raise DomainError(f"resolution {resolution.max().item():g} is above the emulator's limit of {limit:g}")
        kernel = transfer(
            self.frequency[: sampler.modes],
            vsini_kms=vsini_kms,
            resolution=remaining_resolution(resolution, self.native_resolution),
            vmac_kms=vmac_kms,
        )
        return sampler(self.modes(labels, sampler.modes) * kernel)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: the basis in float16 (each component scaled), the networks in float32.

        Raises:
            OutputError: the file cannot be written.
        """
        scale = self.basis.abs().amax(1, keepdim=True) / 1e4
        tensors = {
            "mean": self.mean,
            "basis": (self.basis / scale).half(),
            "basis_scale": scale,
            "feature_mean": self.feature_mean,
            "feature_std": self.feature_std,
            "coefficient_scale": self.coefficient_scale,
            **{f"networks.{name}": value for name, value in self.networks.state_dict().items()},
        }
        header = {**self.header, "grid": asdict(self.grid), "labels": asdict(self.space)}
        if self.errors is not None:
            tensors |= {"error_rms": self.errors.rms.half(), "error_stars": self.errors.stars}
            header["errors"] = {"grid": asdict(self.errors.grid), "resolution": self.errors.resolution}
        checkpoints.save(path, "emulator", tensors, header)


def file_of(emulator: str | os.PathLike[str]) -> Path:
    """The file of an emulator: "packaged", or a path."""
    return PACKAGED if os.fspath(emulator) == "packaged" else Path(emulator)


def load(path: str | os.PathLike[str] = "packaged") -> Emulator:
    """Read an emulator; "packaged" is the one that ships with maury.

    Raises:
        FormatError: not a readable file of maury's.
        SchemaError: another schema, or not an emulator.
    """
    checkpoint = checkpoints.load(file_of(path), "emulator")
    tensors, header = checkpoint.tensors, checkpoint.header
    state = {k.removeprefix("networks."): v for k, v in tensors.items() if k.startswith("networks.")}
    shapes = [state[f"weights.{i}"].shape for i in range(len(state) // 2)]
    members, inputs, width = shapes[0]
    networks = LabelNetworks(members, inputs, width, len(shapes) - 1, shapes[-1][2])
    networks.load_state_dict(state)
    basis = tensors["basis"].float() * tensors["basis_scale"]
    emulator = Emulator(
        networks,
        LogGrid(**header["grid"]),
        torch.view_as_complex(tensors["mean"].reshape(-1, 2)),
        torch.view_as_complex(basis.reshape(len(basis), -1, 2)),
        (tensors["feature_mean"], tensors["feature_std"]),
        tensors["coefficient_scale"],
        header,
        _error_map(tensors, header),
        LabelSpace.from_header(header),
    )
    return emulator.eval().requires_grad_(False)


@lru_cache(maxsize=2)
def load_cached(path: str = "packaged") -> Emulator:
    """Load an emulator as `load` does, but keep the last two in memory; callers must not change it."""
    return load(path)


def _error_map(tensors: dict[str, Tensor], header: dict[str, Any]) -> ErrorMap | None:
    if "errors" not in header:
        return None
    grid, resolution = LogGrid(**header["errors"]["grid"]), header["errors"]["resolution"]
    names = tuple(header["labels"]["names"])
    return ErrorMap(grid, resolution, tensors["error_rms"].float(), tensors["error_stars"], names)
