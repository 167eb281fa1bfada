"""Find, read and write files of trained networks; predict with a founding network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maury import checkpoints
from maury.config import make_config
from maury.errors import DomainError, FormatError
from maury.labels import LabelSpace
from maury.networks.architectures import PosteriorConfig, StarNetConfig
from maury.networks.posterior_network import PosteriorNetwork
from maury.networks.starnet import StarNet
from maury.networks.transform import LabelTransform
from maury.wavelengths import regular_pixels

_BATCH = 256


def packaged_networks() -> dict[str, dict[str, Any]]:
    """Headers of the trained networks that ship with maury, by name."""
    headers = {path.stem: checkpoints.read_header(path) for path in sorted(checkpoints.MODELS.glob("*.safetensors"))}
    return {name: header for name, header in headers.items() if header["kind"] == "network"}


def save(
    path: str | os.PathLike[str],
    network: StarNet | PosteriorNetwork,
    header: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a network and its header; ``dtype`` float16 halves the file.

    Args:
        path: the file to write.
        network: the network.
        header: for a network with a posterior, ``labels``, ``pixels`` (of `maury.emulator.NetworkPixels`), ``prior``;
            for a founding network, ``labels`` (names, lower, upper), ``flux`` (mean, std), ``wavelength`` (first, last;
            Å, air), ``sampling`` ("linear" or "log" pixels; by default linear) and ``resolution``. More entries may
            describe the training. The architecture's settings are added as ``network``.
        dtype: type of the stored weights.

    Raises:
        DomainError: a weight is not finite in ``dtype``.
        OutputError: the file cannot be written.
    """
    state = network.state_dict()
    tensors = {name: t.detach().to(dtype if t.is_floating_point() else t.dtype) for name, t in state.items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise DomainError(f"{path}: weights of {name} are not finite as {str(dtype).removeprefix('torch.')}")
    settings = network.config.model_dump(mode="json")
    checkpoints.save(path, "network", tensors, {**header, "network": settings})


def load(name: str | os.PathLike[str]) -> tuple[StarNet | PosteriorNetwork, dict[str, Any]]:
    """Read a trained network, in float32 and ready to predict.

    Args:
        name: the name of a packaged network, the folder of a finished training run, or a file.

    Returns:
        The network and its header.

    Raises:
        FormatError: there is no such network, or the file cannot be read as a file of maury.
        SchemaError: the file has a schema that this version cannot read, or it is not a network.
    """
    path = find(name)
    checkpoint = checkpoints.load(path, "network")
    header = checkpoint.header
    network = _empty(header, str(path))
    try:
        state = {key: t.float() if t.is_floating_point() else t for key, t in checkpoint.tensors.items()}
        network.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(f"{path}: its weights do not fit its settings ({str(error).splitlines()[-1]})") from error
    return network.eval().requires_grad_(False), header


@lru_cache(maxsize=4)
def load_cached(name: str) -> tuple[StarNet | PosteriorNetwork, dict[str, Any]]:
    """Load a network and its header as `load` does, but keep the last four in memory; callers must not change them."""
    return load(name)


def load_posterior(name: str | os.PathLike[str]) -> tuple[PosteriorNetwork, dict[str, Any]]:
    """Read a network that gives a posterior.

    Raises:
        FormatError: as `load`, or a network that gives point estimates.
        SchemaError: as `load`.
    """
    network, header = load(name)
    if not isinstance(network, PosteriorNetwork):
        raise FormatError(f"{os.fspath(name)}: gives point estimates, no posterior")
    return network, header


def is_posterior(header: Mapping[str, Any]) -> bool:
    """Whether a network gives a posterior, from its header."""
    return "embedding" in header.get("network", {})


def _empty(header: Mapping[str, Any], where: str) -> StarNet | PosteriorNetwork:
    """Make a network with the architecture in a header; its weights are still to be loaded.

    Raises:
        FormatError: the header lacks an entry that predictions need.
    """
    needed = ("labels", "prior", "pixels") if is_posterior(header) else ("labels", "flux", "wavelength", "resolution")
    missing = [key for key in ("network", *needed) if key not in header]
    if missing:
        raise FormatError(f"{where}: its header lacks {', '.join(missing)}")
    if is_posterior(header):
        return PosteriorNetwork(
            make_config(header["network"], PosteriorConfig, where), LabelTransform.from_header(header)
        )
    return StarNet(make_config(header["network"], StarNetConfig, where))


def find(name: str | os.PathLike[str]) -> Path:
    """Path of the weights of a network: a packaged name, the folder of a finished training run, or a file.

    Raises:
        FormatError: no such network.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise FormatError(f"{path}: there is no model.safetensors in this folder; is the training finished?")
        return path / "model.safetensors"
    packaged = checkpoints.MODELS / f"{os.fspath(name)}.safetensors"
    if path.exists() or not packaged.is_file():
        if not path.exists() and path.suffix != ".safetensors":
            known = ", ".join(packaged_networks()) or "none"
            raise FormatError(f"{name}: not a packaged network ({known}), the folder of a training run or a file")
        return path
    return packaged


def pixel_wavelengths(header: Mapping[str, Any]) -> NDArray[np.float64]:
    """Wavelengths (pixels,), Å air, of the spectra that a founding network takes, from its header."""
    first, last = map(float, header["wavelength"])
    return regular_pixels(first, last, int(header["network"]["pixels"]), header.get("sampling", "linear"))


def predict(network: StarNet, header: Mapping[str, Any], flux: NDArray[Any]) -> NDArray[np.float64]:
    """Infer labels of spectra, in their units, with a founding network.

    Args:
        network: network that `load` returned.
        header: header of the network.
        flux: continuum-normalised spectra (n, pixels) on the network's pixels.

    Returns:
        Labels (n, labels) in the order of ``header["labels"]["names"]``; they may lie outside the ranges.

    Raises:
        DomainError: the number of pixels is not the network's, or a flux is not finite.
    """
    if flux.ndim != 2 or flux.shape[1] != network.config.pixels:
        raise DomainError(f"flux has shape {flux.shape}; the network takes shape (n, {network.config.pixels})")
    bad = ~np.isfinite(flux).all(axis=1)
    if bad.any():
        raise DomainError(f"the flux of spectrum {int(np.argmax(bad)) + 1} is not finite in every pixel")
    mean, std = header["flux"]["mean"], header["flux"]["std"]
    device = network.output.weight.device
    parts = []
    with torch.inference_mode():
        for first in range(0, len(flux), _BATCH):
            batch = (np.asarray(flux[first : first + _BATCH], np.float32) - np.float32(mean)) / np.float32(std)
            parts.append(network(torch.from_numpy(batch).to(device)).double().cpu())
    unit = torch.cat(parts).numpy() if parts else np.empty((0, len(network.config.labels)))
    return np.asarray(LabelSpace.from_header(header).denormalise(unit))
