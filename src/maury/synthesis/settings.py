"""Settings of a library's synthesis: physics, labels of the spectra (design), window and input files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from maury.config import PRESETS, Settings
from maury.designs import LOGG, MH, TEFF_K
from maury.labels import LABELS
from maury.synthesis.departures import DeparturesConfig
from maury.wavelengths import C_KMS, FOUNDING_END_AA, FOUNDING_PIXELS, FOUNDING_START_AA, Floats

Range = tuple[float, float]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

GIVEN = tuple(name for name in LABELS if name not in ("vsini", "vmac"))
"""Labels that a design may give: all but those of broadening."""

FOUNDING_STEP_AA = (FOUNDING_END_AA - FOUNDING_START_AA) / (FOUNDING_PIXELS - 1)


class PhysicsConfig(Settings):
    """Settings of PySME: sampling, line selection, departures from LTE.

    Attributes:
        sampling: "adaptive": PySME's default; it chooses the wavelengths to compute and interpolates linearly between
            them (used for the library of the founding window). "uniform": four times faster and more accurate, with
            equal steps of ln(wavelength), 3 angles equivalent to PySME's 7, fewer layers, a coarser continuum and a
            shorter range of weak lines.
        doppler_step: step of the uniform sampling in Doppler widths of iron; never wider than 1 km/s.
        accrt: lines with a smaller ratio of line to continuous opacity are neglected.
        line_margin: distance from the ends of the spectrum up to which lines are included, Å.
        nlte: files of departure coefficients by element, for lists in VALD's long format; other elements are in LTE.
        departures: departures from LTE as changes of log gf (`maury.synthesis.departures`); other lines are in LTE.
        cool_teff: two temperatures (K): the lines of ``cool_lines`` have full opacity below the first, none above the
            second, and a linearly falling one between.
        timeout: longest time for one spectrum, seconds.
    """

    sampling: Literal["adaptive", "uniform"] = "adaptive"
    doppler_step: Annotated[float, Field(gt=0, le=1)] = 0.4
    accrt: Annotated[float, Field(gt=0, le=0.1)] = 1e-3
    line_margin: Annotated[float, Field(ge=0, le=500)] = 10.0
    nlte: dict[str, str] = Field(default_factory=dict)
    departures: DeparturesConfig | None = None
    cool_teff: Range = (4600.0, 4750.0)
    timeout: Annotated[float, Field(gt=0)] = 300.0

    def files(self) -> list[str]:
        """Paths of all files in these settings."""
        corrections = self.departures.corrections if self.departures is not None else ()
        return [*self.nlte.values(), *dict.fromkeys(correction.file for correction in corrections)]

    def placed(self, place: Callable[[str], str]) -> PhysicsConfig:
        """Return these settings with ``place`` applied to the path of each file."""
        changes: dict[str, object] = {"nlte": {element: place(path) for element, path in self.nlte.items()}}
        if self.departures is not None:
            moved = [c.model_copy(update={"file": place(c.file)}) for c in self.departures.corrections]
            changes["departures"] = self.departures.model_copy(update={"corrections": tuple(moved)})
        return self.model_copy(update=changes)

    def absolute(self) -> PhysicsConfig:
        """Return these settings with absolute paths, which worker processes need."""
        return self.placed(lambda path: os.path.abspath(os.path.expanduser(path)))


class TableDesign(Settings):
    """Labels from a table.

    Attributes:
        kind: "table".
        file: CSV table with the columns teff, logg, mh; optional: vmic (default 2 km/s), alpha, c, mg, ca, ti, cr, ni.
    """

    kind: Literal["table"] = "table"
    file: str


class NodesDesign(Settings):
    """Nodes of the SPC grid within ranges, or a tensor grid given by the user.

    Attributes:
        kind: "nodes".
        teff: lowest and highest Teff of the SPC nodes, K.
        logg: lowest and highest log g of the SPC nodes.
        mh: lowest and highest [M/H] of the SPC nodes.
        values: values of each label of a tensor grid, in place of the SPC nodes; other labels as in `TableDesign`.
        seed: seed of the random choice.
        count: number of nodes to draw at random; None for all.
    """

    kind: Literal["nodes"] = "nodes"
    teff: Range = (TEFF_K[0], TEFF_K[-1])
    logg: Range = (LOGG[0], LOGG[-1])
    mh: Range = (MH[0], MH[-1])
    values: dict[str, Annotated[list[float], Field(min_length=1)]] = Field(default_factory=dict)
    seed: Seed = 1
    count: Count | None = None

    @field_validator("values")
    @classmethod
    def _known(cls, values: dict[str, list[float]]) -> dict[str, list[float]]:
        return _with_star(values)


class SobolDesign(Settings):
    """Points that fill a domain evenly (a scrambled Sobol sequence), without those that have no model atmosphere.

    Attributes:
        kind: "sobol".
        count: number of spectra.
        seed: seed of the scrambling.
        ranges: lowest and highest value of each label that varies; by default the domain of the packaged library with
            its realistic abundances (`maury.designs.sobol_labels`).
    """

    kind: Literal["sobol"] = "sobol"
    count: Count
    seed: Seed = 1
    ranges: dict[str, Range] = Field(default_factory=dict)

    @field_validator("ranges")
    @classmethod
    def _known(cls, ranges: dict[str, Range]) -> dict[str, Range]:
        for name, (low, high) in ranges.items():
            if not low < high:
                raise ValueError(f"{name}: {low:g} to {high:g} is empty")
        return _with_star(ranges)


class StarDesign(Settings):
    """Points around a star, without those that have no model atmosphere.

    Attributes:
        kind: "star".
        centre: labels of the star: teff, logg and mh; others optional, as in `TableDesign`.
        widths: standard deviation (gaussian) or half width (box) of each label that varies.
        shape: "gaussian" or "box" (a Sobol sequence).
        count: number of spectra.
        seed: seed of the points.
    """

    kind: Literal["star"] = "star"
    centre: dict[str, float]
    widths: dict[str, Annotated[float, Field(gt=0)]]
    shape: Literal["gaussian", "box"] = "gaussian"
    count: Count
    seed: Seed = 1

    @field_validator("centre")
    @classmethod
    def _known(cls, centre: dict[str, float]) -> dict[str, float]:
        return _with_star(centre)

    @model_validator(mode="after")
    def _centred(self) -> StarDesign:
        for name in self.widths:
            if name not in self.centre:
                raise ValueError(f"widths: centre has no value of {name}")
        if not self.widths:
            raise ValueError("widths: no label varies")
        return self


class DenseDesign(Settings):
    """Points over the whole domain, densest for cool and for metal-poor stars, plus nodes of the SPC grid.

    Attributes:
        kind: "dense".
        count: number of points of `maury.designs.dense_labels`.
        nodes: number of additional nodes of the SPC grid, drawn at random.
        metal_rich: number of additional points, densest at 4500 to 7000 K and solar metallicity.
        seed: seed of all; the metal-rich points use ``seed + 1``.
    """

    kind: Literal["dense"] = "dense"
    count: Count
    nodes: Annotated[int, Field(ge=0, le=100_000)] = 0
    metal_rich: Annotated[int, Field(ge=0, le=100_000)] = 0
    seed: Seed = 1


Design: TypeAlias = Annotated[
    TableDesign | NodesDesign | SobolDesign | StarDesign | DenseDesign, Field(discriminator="kind")
]


_FILES = ("line_list", "changes", "cool_lines", "atmospheres")
PACKAGED_CHANGES = PRESETS / "synthesis" / "changes.ecsv"
"""Changes of log gf in the line list of the packaged emulator."""


class SynthesisConfig(Settings):
    """Settings of `maury synthesize`.

    Attributes:
        line_list: extract of VALD.
        changes: table of changes of log gf to apply to this list, written by `maury lines calibrate`; "packaged" for
            the one that ships with maury.
        cool_lines: extract of VALD with lines of cool stars only (``physics.cool_teff``), such as TiO.
        atmospheres: folder or tar archive of ATLAS9 or MARCS models.
        design: labels of the spectra.
        window: first and last wavelength that later analysis uses, Å (air).
        step: width of a pixel, Å. Pixels lie at whole steps from 5050 Å, so that windows of the same step share pixels.
        margin: added to both ends of the window for rotation and instrument, km/s at its upper end. By default the
            founding window gets 500 pixels at each end.
        vturb: microturbulence of the model atmospheres, km/s; other models are skipped.
        extrapolate_logg: extrapolate log g linearly below the two lowest model atmospheres; recorded per spectrum.
        extrapolate_mh: below the lowest [M/H] of the model atmospheres, use the structure of the lowest model and the
            abundances of the star.
        physics: settings of PySME.
        workers: number of processes; it does not change the result.
        digests: SHA-256 of inputs by file name. Those given are checked, the others are filled in.
    """

    line_list: str
    changes: str = ""
    cool_lines: str = ""
    atmospheres: str
    design: Design
    window: Range = (FOUNDING_START_AA, FOUNDING_END_AA)
    step: Annotated[float, Field(gt=0, le=10)] = FOUNDING_STEP_AA
    margin: Annotated[float, Field(ge=0, le=3000)] = 282.0
    vturb: Annotated[float, Field(ge=0)] = 2.0
    extrapolate_logg: bool = False
    extrapolate_mh: bool = False
    physics: PhysicsConfig = PhysicsConfig()
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    digests: dict[str, str] = Field(default_factory=dict)

    @field_validator("window")
    @classmethod
    def _ordered(cls, window: Range) -> Range:
        if not 900 < window[0] < window[1] < 60_000:
            raise ValueError("must be two increasing wavelengths within 900 to 60000 Å")
        return window

    def located(self, folder: str | os.PathLike[str]) -> SynthesisConfig:
        """Return these settings with relative paths of inputs interpreted relative to a folder."""

        def place(path: str) -> str:
            return str(Path(folder) / Path(path).expanduser()) if path not in ("", "packaged") else path

        files = {name: place(getattr(self, name)) for name in _FILES}
        return self.model_copy(update=files | {"physics": self.physics.placed(place)})

    def recipe(self) -> dict[str, object]:
        """Settings that determine the spectra: file names without folders, and without the number of processes."""
        bare = self.model_copy(
            update={name: Path(getattr(self, name)).name for name in _FILES}
            | {"physics": self.physics.placed(lambda path: Path(path).name)}
        )
        return bare.model_dump(mode="json", exclude={"workers"})

    @property
    def recipe_digest(self) -> str:
        """SHA-256 of `recipe`."""
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    @property
    def wavelength_aa(self) -> Floats:
        """Pixels of the spectra (p,), Å air: the window and its margins."""
        margin = self.window[1] * self.margin / C_KMS
        low, high = (
            (end - FOUNDING_START_AA) / self.step for end in (self.window[0] - margin, self.window[1] + margin)
        )
        first, last = int(np.floor(low + _ROUNDING)), int(np.ceil(high - _ROUNDING))
        return np.asarray(FOUNDING_START_AA + self.step * np.arange(first, last + 1), np.float64)


_ROUNDING = 1e-6
Value = TypeVar("Value")


def _with_star(given: dict[str, Value]) -> dict[str, Value]:
    """Check names of labels; unless there are none, teff, logg and mh are required."""
    unknown = [name for name in given if name not in GIVEN]
    if unknown:
        raise ValueError(f"unknown label {', '.join(unknown)}; allowed: {', '.join(GIVEN)}")
    missing = [name for name in ("teff", "logg", "mh") if name not in given]
    if given and missing:
        raise ValueError(f"{', '.join(missing)} must be given")
    return given
