"""Settings of the network architectures: numbers of pixels, labels, layers and units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from maury.config import Positive, Settings
from maury.labels import FOUNDING, LABELS


class NetworkConfig(Settings):
    """Settings that all networks share.

    Attributes:
        pixels: pixels of the input spectrum.
        labels: labels to infer, in the order of the outputs.
    """

    pixels: Positive
    labels: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not set(labels) <= set(LABELS) or len(set(labels)) < len(labels):
            raise ValueError(f"must be distinct names among {', '.join(LABELS)}")
        return labels


class StarNetConfig(NetworkConfig):
    """The founding convolutional network (after StarNet, Fabbro et al. 2018).

    Attributes:
        filters: filters of the two convolutions.
        kernel: width of both convolutions in pixels.
        pool: number of pixels per max-pooling.
        dense: units of the two hidden dense layers.
    """

    pixels: Positive = 7447
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = FOUNDING
    filters: tuple[Positive, Positive] = (4, 16)
    kernel: Positive = 32
    pool: Positive = 4
    dense: tuple[Positive, Positive] = (256, 128)


class PosteriorConfig(NetworkConfig):
    """The default network, which infers a posterior of the labels from flux, noise, mask and resolving power.

    Attributes:
        embedding: type of the embedding network, which turns a spectrum into features.
        components: number of rows of the linear projection, which is initialised with principal components.
        width: number of features, and of units of each hidden layer.
        depth: number of residual blocks.
        bins: number of parts of the window; the mean noise and fraction of good pixels of each are inputs.
        context: length of the vector on which the flow is conditioned.
        transforms: number of spline transformations of the flow.
        knots: number of bins of each spline.
        hidden: units of the hidden layers of the networks that compute the splines.
    """

    pixels: Annotated[int, Field(ge=16)] = 8650
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = (*FOUNDING, "vmic", "alpha")
    embedding: Literal["residual", "convolution", "attention"] = "residual"
    components: Positive = 256
    width: Positive = 512
    depth: Positive = 4
    bins: Positive = 32
    context: Positive = 64
    transforms: Positive = 4
    knots: Annotated[int, Field(ge=2)] = 8
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 64)
