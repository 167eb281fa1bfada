"""Settings of a catalogue: all that its numbers depend on besides the spectra and the models' weights."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from maury.config import Settings


class CatalogueConfig(Settings):
    """How a catalogue is made.

    Attributes:
        model: a packaged network, a run's folder or a network file.
        emulator: "packaged" or an emulator's file, with which files are prepared; spectra of HDF5 need none.
        samples: samples of each posterior; without it spectra of HDF5 get the quantiles that the network gives by
            itself, thousands a second, and files 4,000 samples.
        seed: of the samples.
        labels: set of labels, as `maury.inference.posterior.label_set` takes it; HDF5 catalogues that are not refined
            get all of the network.
        refine: weigh samples by the likelihood of model spectra, as `maury.inference.predict` does, which takes most of
            the time; None: files wherever it is possible, spectra of HDF5 not.
        resolution: nominal R = lambda / FWHM of files, if neither the list nor the file gives it.
        reading: attributes of `maury.readers.ReadOptions` for files, where the list has no value.
        velocity_range: where the velocity of files is searched, km/s; by default -500 to 500.
        shard: spectra in a part of the output; by default 8,192 of HDF5 and 64 files. A kill costs at most the parts
            that were being made.
    """

    model: str
    emulator: str = "packaged"
    samples: Annotated[int, Field(ge=10)] | None = None
    seed: Annotated[int, Field(ge=0)] = 1
    labels: str = "default"
    refine: bool | None = None
    resolution: Annotated[float, Field(ge=500, le=1_000_000)] | None = None
    reading: dict[str, Any] = Field(default_factory=dict)
    velocity_range: tuple[float, float] | None = None
    shard: Annotated[int, Field(ge=1)] | None = None

    def fitted(self, packed: bool) -> bool:
        """Whether the emulator is used: for files, and for spectra of HDF5 (``packed``) that are refined."""
        return not packed or self.refine is True
