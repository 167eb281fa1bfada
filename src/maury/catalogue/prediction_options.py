"""Settings of a catalogue: all that its numbers depend on besides the spectra and the models' weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from maury.config import Settings


class CatalogueConfig(Settings):
    """How a catalogue is made.

    Attributes:
        model: a packaged network, a run's folder or a network file.
        emulator: "packaged" or an emulator's file, for preparation and refinement; not used for unrefined HDF5 spectra.
        samples: number of samples of each posterior; None: 4,000 for files; none for HDF5, whose quantiles then come
            directly from the network (thousands of spectra a second).
        seed: of the samples.
        labels: set of labels, as `maury.inference.posterior.label_set` takes it; HDF5 catalogues that are not refined
            get all labels of the network.
        refine: weight samples by the likelihood of model spectra, as `maury.inference.predict` does, which takes most
            of the time; None: refine files where possible, do not refine HDF5 spectra.
        components: 2 also fits two stars to each spectrum, 1 never; None: two where the lines of a second star are
            found in a file. The list's column of this name overrides it.
        resolution: nominal R = lambda / FWHM of files, if neither the list nor the file gives it.
        reading: attributes of `maury.readers.ReadOptions` for files, where the list has no value.
        velocity_range: where the velocity of files is searched, km/s; by default -500 to 500.
        shard: number of spectra in a part of the output; by default 8,192 for HDF5, 64 for files. After an
            interruption, only unfinished parts are computed again.
    """

    model: str
    emulator: str = "packaged"
    samples: Annotated[int, Field(ge=10)] | None = None
    seed: Annotated[int, Field(ge=0)] = 1
    labels: str = "default"
    refine: bool | None = None
    components: Literal[1, 2] | None = None
    resolution: Annotated[float, Field(ge=500, le=1_000_000)] | None = None
    reading: dict[str, Any] = Field(default_factory=dict)
    velocity_range: tuple[float, float] | None = None
    shard: Annotated[int, Field(ge=1)] | None = None

    def fitted(self, packed: bool) -> bool:
        """Whether the emulator is used: for files, and for spectra of HDF5 (``packed``) that are refined."""
        return not packed or self.refine is True
