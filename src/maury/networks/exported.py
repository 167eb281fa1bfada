"""Export point estimate and embedding of a network as an ONNX file, checked with torch, for programs without torch."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maury import __version__
from maury.errors import ConfigError, DomainError
from maury.files import atomic_path, sha256
from maury.labels import LABELS, LabelSpace
from maury.networks.posterior_network import LEVELS, PosteriorNetwork
from maury.networks.starnet import StarNet
from maury.networks.store import find, load, predict
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra

TOLERANCE = 1e-4
"""Largest difference from torch allowed: relative to the range of a label for labels and quantiles, relative to the
largest number of the embedding for the embedding."""

_POINT = {
    "posterior": "labels: marginal median of each label, which the network estimates without sampling (quantile 0.5 of "
    "quantiles); not the median of samples of the posterior, and not refined",
    "points": "labels: the network's point estimate; there are no quantiles",
}
_INPUTS = {
    "flux": "continuum-normalised flux in the rest frame, on the pixels of wavelength, of at most the R of resolution; "
    "any value where mask is true",
    "sigma": "standard deviation of the flux, positive; any value where mask is true",
    "mask": "true: do not use the pixel",
    "resolution": "R = lambda / FWHM of the flux",
}
_BATCHES = (1, 7)
"""Numbers of spectra in the two comparisons with torch."""
_LEAST_RESOLUTION = 10_000.0
"""Lowest R of the spectra compared."""


@dataclass(frozen=True)
class Exported:
    """Inputs and outputs of an exported ONNX file, and its difference from torch."""

    inputs: dict[str, tuple[str | int, ...]]  # shapes of the inputs by name; the first axis counts spectra
    outputs: dict[str, tuple[str | int, ...]]  # shapes of the outputs by name
    difference: dict[str, float]  # largest difference from torch by output name, relative as for `TOLERANCE`


class _Means(nn.Module):
    """`torch.nn.AdaptiveAvgPool1d` as a matrix product; ONNX supports it only if bins divide the number of pixels."""

    matrix: Tensor

    def __init__(self, pixels: int, bins: int) -> None:
        super().__init__()
        matrix = torch.zeros(pixels, bins)
        for i in range(bins):
            first, end = i * pixels // bins, -(-(i + 1) * pixels // bins)
            matrix[first:end, i] = 1 / (end - first)
        self.register_buffer("matrix", matrix)

    def forward(self, values: Tensor) -> Tensor:
        """Means (..., bins) of values (..., p)."""
        return values @ self.matrix


class _PosteriorPoints(nn.Module):
    """Network with a posterior, as a function of flux, sigma, mask, resolution: medians (b, k), quantiles, features."""

    def __init__(self, network: PosteriorNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.pool = _Means(network.config.pixels, network.config.bins)

    def forward(self, flux: Tensor, sigma: Tensor, mask: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network(PixelSpectra(flux=flux, sigma=sigma, mask=mask, resolution=resolution))
        real = self.network.unconstrained_quantiles(features).mT
        unit = 0.5 * torch.erfc(-real / math.sqrt(2))
        quantiles = LabelTransform(self.network.transform.space).labels(unit)
        return quantiles[:, LEVELS.index(0.5)], quantiles, features


class _StarNetPoints(nn.Module):
    """Founding network as a function of flux: labels (b, k), last hidden layer; by standard convolutions."""

    def __init__(self, network: StarNet, header: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.space = network, LabelSpace.from_header(header)
        self.mean, self.std = float(header["flux"]["mean"]), float(header["flux"]["std"])

    def forward(self, flux: Tensor) -> tuple[Tensor, Tensor]:
        net = self.network
        width = net.config.kernel
        maps = ((flux - self.mean) / self.std)[:, None]
        for convolution in (net.conv1, net.conv2):
            maps = convolution(functional.pad(maps, ((width - 1) // 2, width // 2))).relu()
        pooled = functional.max_pool1d(maps, net.config.pool).mT.flatten(1)
        embedding = net.dense2(net.dense1(pooled).relu()).relu()
        return self.space.denormalise(net.output(embedding)), embedding


def export_onnx(name: str | os.PathLike[str], path: str | os.PathLike[str]) -> Exported:
    """Write a network's point estimate and embedding as an ONNX file, if its outputs agree with torch.

    Inputs of a network with a posterior are ``flux``, ``sigma`` (b, p), ``mask`` (b, p, bool, true: do not use) and
    ``resolution`` (b,); a founding network takes ``flux`` alone. Outputs are ``labels`` (b, k) in their units and
    ``embedding`` (b, width), the output of the embedding network or of the last hidden layer; a network with a
    posterior adds ``quantiles`` (b, 4, k). Metadata of the file hold labels with units, pixels, and the model's
    checksum.

    Args:
        name: a packaged network, the folder of a training run or a network file.
        path: the file to write.

    Raises:
        ConfigError: the extra ``onnx`` is not installed.
        FormatError: the network cannot be read.
        DomainError: the exported network differs from torch by more than `TOLERANCE`; nothing is written.
        OutputError: the file cannot be written.
    """
    onnx, _ = _tools()
    source = find(name)
    network, header = load(source)
    examples = [_example(network, header, count, seed) for seed, count in enumerate(_BATCHES)]
    with _quiet():
        proto = _to_proto(network, header, examples[-1])
    inputs, outputs = _shapes(proto.graph.input), _shapes(proto.graph.output)
    difference = dict.fromkeys(outputs, 0.0)
    for example in examples:
        for key, value in _differences(network, header, proto.SerializeToString(), example).items():
            difference[key] = max(difference[key], value)
    worst = max(difference, key=lambda key: difference[key])
    if not difference[worst] <= TOLERANCE:
        raise DomainError(f"{os.fspath(name)}: {worst} of the ONNX file differs from torch by {difference[worst]:.2g}; "
                          f"at most {TOLERANCE:g} is allowed; nothing is written")  # fmt: skip
    onnx.helper.set_model_props(proto, _metadata(os.fspath(name), sha256(source), header, inputs, difference))
    with atomic_path(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return Exported(inputs, outputs, difference)


def _tools() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime.

    Raises:
        ConfigError: onnx, onnxruntime or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ConfigError("an export to ONNX needs onnx, onnxscript, onnxruntime: pip install 'maury[onnx]'") from error
    return onnx, onnxruntime


def _to_proto(network: StarNet | PosteriorNetwork, header: Mapping[str, Any], example: dict[str, Tensor]) -> Any:
    """The network as an ``onnx.ModelProto`` for any number of spectra."""
    posterior = isinstance(network, PosteriorNetwork)
    points = _PosteriorPoints(network) if isinstance(network, PosteriorNetwork) else _StarNetPoints(network, header)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        points.eval().requires_grad_(False),
        tuple(example.values()),
        None,
        input_names=list(example),
        output_names=["labels", "quantiles", "embedding"] if posterior else ["labels", "embedding"],
        dynamic_shapes={key: {0: batch} for key in example},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # the exporter of dynamo=True always returns a program
    proto = program.model_proto
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")  # they hold paths of the source files on this machine
    return proto


def _example(
    network: StarNet | PosteriorNetwork, header: Mapping[str, Any], count: int, seed: int
) -> dict[str, Tensor]:
    """Inputs for ``count`` spectra: noise about the mean spectrum, the first parts of the window masked."""
    generator = torch.Generator().manual_seed(seed)
    pixels = network.config.pixels
    noise = torch.randn(count, pixels, generator=generator)
    if isinstance(network, StarNet):
        return {"flux": header["flux"]["mean"] + header["flux"]["std"] * noise}
    sigma = 0.002 + 0.1 * torch.rand(count, 1, generator=generator) * torch.rand(count, pixels, generator=generator)
    mask = torch.rand(count, pixels, generator=generator) < 0.1
    mask[:, : 2 * pixels // network.config.bins] = True
    share = torch.rand(count, generator=generator)
    resolution = _LEAST_RESOLUTION + (float(header["pixels"]["resolution"]) - _LEAST_RESOLUTION) * share
    flux = torch.where(mask, torch.nan, network.mean + 3 * sigma * noise)
    return {"flux": flux, "sigma": torch.where(mask, torch.nan, sigma), "mask": mask, "resolution": resolution}


def _differences(
    network: StarNet | PosteriorNetwork, header: Mapping[str, Any], content: bytes, example: dict[str, Tensor]
) -> dict[str, float]:
    """Largest difference of each output from torch, relative as for `TOLERANCE`; infinite if it is not finite."""
    _, onnxruntime = _tools()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = dict(zip(names, session.run(names, {key: value.numpy() for key, value in example.items()}), strict=True))
    expected = _by_torch(network, header, example)
    space = LabelSpace.from_header(header)
    ranges = np.subtract(space.upper, space.lower)
    found = {}
    for key, value in expected.items():
        scale = np.abs(value).max() if key == "embedding" else ranges
        largest = float(np.abs((given[key] - value) / scale).max())
        found[key] = largest if np.isfinite(largest) else math.inf
    return found


def _by_torch(
    network: StarNet | PosteriorNetwork, header: Mapping[str, Any], example: dict[str, Tensor]
) -> dict[str, NDArray[Any]]:
    """Outputs of the network by torch, with the code that predictions use."""
    with torch.inference_mode():
        if isinstance(network, PosteriorNetwork):
            features = network(PixelSpectra(**example))
            quantiles = network.quantiles(features).numpy()
            return {
                "labels": quantiles[:, LEVELS.index(0.5)],
                "quantiles": quantiles,
                "embedding": features.numpy(),
            }
        hidden: list[Tensor] = []
        hook = network.output.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
        try:
            labels = predict(network, dict(header), example["flux"].numpy())
        finally:
            hook.remove()
        return {"labels": labels, "embedding": torch.cat(hidden).numpy()}


def _shapes(values: Any) -> dict[str, tuple[str | int, ...]]:
    """Shapes of a graph's inputs or outputs by name; an axis of any length is given by its name."""
    return {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _metadata(
    name: str, digest: str, header: Mapping[str, Any], inputs: Mapping[str, Any], difference: Mapping[str, float]
) -> dict[str, str]:
    """Metadata of the file as text; values that are not plain text are JSON."""
    space = LabelSpace.from_header(header)
    posterior = "prior" in header
    labels = [
        {"name": n, "unit": LABELS[n].unit, "description": LABELS[n].description, "lower": low, "upper": high}
        for n, low, high in zip(space.names, space.lower, space.upper, strict=True)
    ]
    first, last = header["wavelength"]
    wavelength = {
        "first_aa": first,
        "last_aa": last,
        "pixels": header["network"]["pixels"],
        "sampling": header.get("sampling", "linear"),
        "medium": "air",
        "frame": "rest",
    }
    text = {
        "maury_version": __version__,
        "model": os.path.basename(name),
        "model_sha256": digest,
        "point_estimate": _POINT["posterior" if posterior else "points"],
    }
    values = {
        "labels": labels,
        "quantile_levels": list(LEVELS) if posterior else [],
        "wavelength": wavelength,
        "resolution": header["resolution"],
        "inputs": {key: _INPUTS[key] for key in inputs},
        "largest_difference_from_torch": dict(difference),
    }
    return text | {key: json.dumps(value) for key, value in values.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages of torch's exporter on optional packages and on its own deprecated code."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
