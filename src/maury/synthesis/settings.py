"""Settings of the synthesis of one library."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maury.config import Settings


class PhysicsConfig(Settings):
    """How PySME makes a spectrum.

    Attributes:
        sampling: "adaptive" is PySME as it comes: it chooses the wavelengths it computes and interpolates linearly
            between them. The library of the founding window was made so. "uniform" is four times faster and more exact:
            equal steps of ln(wavelength), a fraction of the Doppler width; 3 angles that stand for PySME's 7; coarser
            where nothing changes (layers, continuum, reach of weak lines).
        doppler_step: step of the uniform sampling in Doppler widths of iron.
        accrt: opacity of a line relative to the continuum below which it is neglected.
        line_margin: lines within so many Å on either side of the window are included.
        nlte: files of departure coefficients by element, for lists in VALD's long format; other elements are in LTE.
        timeout: longest time for one spectrum, seconds.
    """

    sampling: Literal["adaptive", "uniform"] = "adaptive"
    doppler_step: Annotated[float, Field(gt=0, le=1)] = 0.4
    accrt: Annotated[float, Field(gt=0, le=0.1)] = 1e-3
    line_margin: Annotated[float, Field(ge=0, le=500)] = 10.0
    nlte: dict[str, str] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0)] = 300.0
