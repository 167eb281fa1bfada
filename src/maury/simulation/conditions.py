"""Settings of simulated observations: prior of the labels, model errors, noise, continuum errors, gaps."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from maury.config import Settings
from maury.haze import SCATTER, SIZE, TEFF_K


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise ValueError(f"the lower end {ends[0]:g} is above the upper end {ends[1]:g}")
    return ends


def _increasing(teff_k: tuple[float, ...], values: tuple[float, ...]) -> None:
    if len(teff_k) != len(values):
        raise ValueError(f"{len(teff_k)} temperatures, but {len(values)} values")
    if any(b <= a for a, b in pairwise(teff_k)):
        raise ValueError("temperatures must increase")


Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
NotNegativeRange = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)]
Resolution = Annotated[float, Field(ge=5_000, le=115_000)]


class PriorSettings(Settings):
    """How labels are drawn; Teff, log g above the lowest atmosphere, and [M/H] are uniform over the emulator's domain.

    Attributes:
        vsini_kms: range of v sin i, km/s.
        vsini_low_share: fraction of stars with uniform ln(1 + v sin i); all others have uniform v sin i.
        vmac_kms: range of the radial-tangential macroturbulence, km/s, uniform.
        vmic_kms: scatter of the microturbulence about its empirical relation (`maury.labels.usual_vmic`), km/s.
        alpha: range of the common [alpha/M], dex, uniform.
        alpha_scatter: scatter of single alpha elements about the common [alpha/M], dex.
        carbon_scatter: scatter of [C/M] about 0, dex.
        iron_peak_scatter: scatter of [Cr/M] and [Ni/M] about 0, dex.
        further_scatter: scatter of [Na/M], [Sc/M], [Mn/M], [Co/M] and [Cu/M] about 0, dex.
        neutron_capture_scatter: scatter of [Y/M] and [Nd/M] about 0, dex.
    """

    vsini_kms: NotNegativeRange = (0.0, 200.0)
    vsini_low_share: Share = 0.5
    vmac_kms: NotNegativeRange = (0.0, 10.0)
    vmic_kms: Positive = 0.5
    alpha: Range = (-0.2, 0.55)
    alpha_scatter: Positive = 0.15
    carbon_scatter: Positive = 0.2
    iron_peak_scatter: Positive = 0.12
    further_scatter: Positive = 0.25
    neutron_capture_scatter: Positive = 0.5


class ModelErrorSettings(Settings):
    """Errors of the synthetic spectra, as `maury model-error` measures them on real stars.

    Attributes:
        teff_k: temperatures of ``level``, K, increasing.
        level: rms error of the flux between strong lines, per unit of the continuum, for [M/H] = 0, R = 50,000 and no
            rotation; its logarithm is interpolated linearly in Teff.
        mh_slope: change of log10(level) per dex of [M/H].
        floor: error added to the level in quadrature at any Teff and [M/H].
        scatter: scatter of ln(level) from star to star.
        line: error of the line depth, as a fraction of the depth in the intrinsic spectrum.
        width_kms: width of lines in the intrinsic spectrum (standard deviation, km/s), over which errors correlate.
        emulator: factor on the emulator's error map; 0 leaves its error out.
    """

    teff_k: Annotated[tuple[Positive, ...], Field(min_length=2)] = (3500.0, 4000.0, 4500.0, 5000.0, 5750.0, 9750.0)
    level: Annotated[tuple[NotNegative, ...], Field(min_length=2)] = (0.079, 0.043, 0.022, 0.013, 0.0032, 0.0001)
    mh_slope: float = 0.54
    floor: NotNegative = 0.0075
    scatter: NotNegative = 0.3
    line: NotNegative = 0.044
    width_kms: Positive = 1.5
    emulator: NotNegative = 1.0

    @model_validator(mode="after")
    def _matching(self) -> ModelErrorSettings:
        _increasing(self.teff_k, self.level)
        return self


class HazeSettings(Settings):
    """Opacity of weak lines that line lists lack, as a veil of size h: flux = model + h (1 - model).

    The default relation of h with Teff is that of `maury.haze`.

    Attributes:
        teff_k: temperatures of ``size``, K, increasing.
        size: mean h, interpolated linearly and constant beyond the ends.
        scatter: standard deviation of h from star to star, as a fraction of its mean.
    """

    teff_k: Annotated[tuple[Positive, ...], Field(min_length=2)] = TEFF_K
    size: Annotated[tuple[Share, ...], Field(min_length=2)] = SIZE
    scatter: NotNegative = SCATTER

    @model_validator(mode="after")
    def _matching(self) -> HazeSettings:
        _increasing(self.teff_k, self.size)
        return self


class NoiseSettings(Settings):
    """Noise, and the error of the sigma that the pipeline reports.

    Attributes:
        snr: range of the signal-to-noise ratio of the continuum per pixel of the network, log-uniform.
        detector: range of the fraction of the variance that does not depend on the flux (read-out noise).
        tilt: largest change of ln(sigma) over half of the window, for slope and curvature each.
        blaze: largest relative increase of sigma from the middle of an order to its ends.
        correlated_share: fraction of stars whose neighbouring pixels are correlated by resampling.
        correlated_pixels: largest standard deviation of the Gaussian kernel of that correlation, pixels.
        reported_error: reported over true sigma is uniform from 1 - reported_error to 1 + reported_error.
    """

    snr: PositiveRange = (5.0, 1000.0)
    detector: Annotated[tuple[Share, Share], AfterValidator(_ordered)] = (0.02, 0.5)
    tilt: NotNegative = 0.3
    blaze: NotNegative = 0.6
    correlated_share: Share = 0.3
    correlated_pixels: NotNegative = 0.8
    reported_error: Annotated[float, Field(ge=0, lt=1)] = 0.3


class ContinuumSettings(Settings):
    """Errors of the fitted continuum and of the zero level.

    The scatter of the fitted about the true continuum is floor, share_of_noise / (S/N) and share_of_model_error x level
    added in quadrature; a third of its variance is a parabola over the window, the rest a spline.

    Attributes:
        floor: smallest scatter, per unit of the continuum.
        share_of_noise: continuum error due to noise, as a fraction of the noise of one network pixel.
        share_of_model_error: continuum error due to model errors, as a fraction of the level of `ModelErrorSettings`.
        knot_aa: distance between the spline's knots, Å, equal to that of the preparation.
        ripple_share: fraction of stars with ripples left by the blaze correction.
        ripple: largest amplitude of ripples, per unit of the continuum.
        ripple_aa: range of their period, Å.
        join_share: fraction of stars with steps where orders are joined.
        join: standard deviation of the level of an order, per unit of the continuum.
        order_aa: range of the length of an order, Å.
        scattered_share: fraction of stars with a wrong zero level.
        scattered: range of the scattered light added to the flux, per unit of the continuum.
    """

    floor: NotNegative = 0.0005
    share_of_noise: NotNegative = 0.12
    share_of_model_error: NotNegative = 0.2
    knot_aa: Positive = 12.0
    ripple_share: Share = 0.2
    ripple: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    ripple_aa: PositiveRange = (12.0, 25.0)
    join_share: Share = 0.4
    join: NotNegative = 0.003
    order_aa: PositiveRange = (40.0, 120.0)
    scattered_share: Share = 0.5
    scattered: Range = (-0.01, 0.03)


class GapSettings(Settings):
    """Gaps, masked pixels and unmasked cosmic rays; a star has one kind of gap at most: fixed, between orders, short.

    Attributes:
        fixed_share: fraction of stars with a gap at ``fixed_aa``.
        fixed_aa: the gap between the detectors of HARPS, Å, in the frame of the instrument.
        fixed_kms: largest radial velocity, km/s; it shifts the gap in the star's rest frame.
        orders_share: fraction of stars with gaps between orders.
        orders_aa: range of the width of these gaps, Å.
        short_share: fraction of stars observed in a part of the window only.
        short_aa: shortest observed part, Å.
        bad_pixels: largest fraction of pixels masked in short runs (cosmic rays, bad columns).
        spike_share: fraction of stars with cosmic rays that were not masked.
        spike_sigma: range of the height of these cosmic rays, in standard deviations of the noise.
    """

    fixed_share: Share = 0.15
    fixed_aa: PositiveRange = (5304.0, 5337.0)
    fixed_kms: NotNegative = 150.0
    orders_share: Share = 0.15
    orders_aa: NotNegativeRange = (1.0, 10.0)
    short_share: Share = 0.15
    short_aa: Positive = 62.0
    bad_pixels: Annotated[float, Field(ge=0, le=0.2)] = 0.01
    spike_share: Share = 0.2
    spike_sigma: NotNegativeRange = (2.0, 8.0)

    @model_validator(mode="after")
    def _shares(self) -> GapSettings:
        total = self.fixed_share + self.orders_share + self.short_share
        if total > 1 + 1e-9:
            raise ValueError(f"shares of fixed, orders and short gaps add up to {total:g}, more than 1")
        return self


class SimulationSettings(Settings):
    """All settings of simulated observations; a range with two equal ends is a constant.

    Attributes:
        prior: distribution of the labels.
        model_error: errors of the physics and the emulator.
        haze: opacity that the line list lacks.
        noise: noise, and the sigma that the pipeline reports.
        continuum: errors of continuum and zero level.
        gaps: gaps, masked pixels and cosmic rays.
        resolution: range of the true resolving power R = lambda / FWHM, log-uniform.
        resolution_error: scatter of the nominal ln(R) about the true one.
        velocity_kms: error of the radial velocity found by the preparation (standard deviation), km/s.
        velocity_per_vsini: velocity error per v sin i, km/s per km/s, added in quadrature.
        velocity_per_noise: velocity error due to noise: velocity_per_noise x (5 km/s + v sin i) / (S/N), added in
            quadrature.
    """

    prior: PriorSettings = PriorSettings()
    model_error: ModelErrorSettings = ModelErrorSettings()
    haze: HazeSettings = HazeSettings()
    noise: NoiseSettings = NoiseSettings()
    continuum: ContinuumSettings = ContinuumSettings()
    gaps: GapSettings = GapSettings()
    resolution: Annotated[tuple[Resolution, Resolution], AfterValidator(_ordered)] = (10_000.0, 115_000.0)
    resolution_error: NotNegative = 0.03
    velocity_kms: NotNegative = 0.3
    velocity_per_vsini: NotNegative = 0.01
    velocity_per_noise: NotNegative = 0.17

    @classmethod
    def without_errors(cls) -> SimulationSettings:
        """Settings with the same prior and without errors: S/N = 1e7, exact physics, continuum, velocity and R."""
        return cls(
            model_error=ModelErrorSettings(level=(0.0, 0.0), teff_k=(3000.0, 10_000.0), floor=0, line=0, emulator=0),
            haze=HazeSettings(teff_k=(3000.0, 10_000.0), size=(0.0, 0.0), scatter=0),
            noise=NoiseSettings(snr=(1e7, 1e7), correlated_share=0, reported_error=0),
            continuum=ContinuumSettings(
                floor=0, share_of_noise=0, share_of_model_error=0, ripple_share=0, join_share=0, scattered_share=0
            ),
            gaps=GapSettings(fixed_share=0, orders_share=0, short_share=0, bad_pixels=0, spike_share=0),
            resolution_error=0,
            velocity_kms=0,
            velocity_per_vsini=0,
            velocity_per_noise=0,
        )
