"""Two stars in one spectrum: labels, velocities and light ratio, by the likelihood that single stars have.

``flux = (F(labels 1, v1) + r F(labels 2, v2)) / (1 + r)``, F normalised to its continuum, r the light ratio of star 2
to star 1 in the window. Both have one metallicity and one set of abundances, and one distance: r follows from their
labels by ``r = (M2 / M1) 10^(g1 - g2) B(T2) / B(T1)`` (masses by Torres et al. 2010, Planck's B at the middle of the
window) with a scatter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maury.broadening import instrument_sigma
from maury.labels import usual_vmic
from maury.likelihood.errors import ErrorModel
from maury.likelihood.laplace import Mode
from maury.likelihood.luminosity import log_mass
from maury.likelihood.priors import RELATIONS, Relation
from maury.likelihood.target import Coordinates
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator

OWN = ("teff", "logg", "vsini")
"""Labels that each star has for itself."""

SECOND = ("teff_2", "logg_2", "vsini_2", "light_ratio", "rv_1", "rv_2")
"""Names of the coordinates that a single star lacks; velocities in km/s, in the frame of the spectrum."""

SCATTER_DEX = 0.1
"""Scatter of the light ratio beside that of the masses: surface brightness is not a black body's."""

VELOCITY_KMS = 60.0
"""Standard deviation of the prior of each velocity in the rest frame of the preparation."""

_PLANCK_K = 1.4388e8
"""h c / k in Å K."""

_CHANGES = (8.0, 14.0, 22.0, 34.0, 50.0, 70.0, 95.0, 125.0, 160.0)
"""Velocity differences (km/s) that are tried for starts, both signs."""
_BLENDED_KMS = 40.0
"""Below this difference a single-star fit finds the velocity of both stars' light, above it that of the brighter."""
_TEMPERATURES = (1.12, 1.0, 0.87, 0.75)
_RATIOS = (0.12, 0.35, 0.85)
_SLOW_KMS = 4.0
_LINE_KMS = 2.0
"""Standard deviation of lines before rotation and instrument: thermal motion and turbulence."""
_COOLEST_K = 3600.0


def log_light_ratio(
    teff: tuple[Tensor, Tensor], logg: tuple[Tensor, Tensor], mh: Tensor, wavelength_aa: float
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n,) of the log10 of the light ratio of star 2 to star 1 at one distance.

    Args:
        teff: of both stars, K.
        logg: of both stars.
        mh: [M/H] of both.
        wavelength_aa: where the light is compared.
    """
    (mass, error), (mass_2, error_2) = (log_mass(t, g, mh) for t, g in zip(teff, logg, strict=True))
    surface = [(torch.expm1(_PLANCK_K / (wavelength_aa * t))).log10() for t in teff]
    mean = mass_2 - mass + logg[0] - logg[1] + surface[0] - surface[1]
    return mean, (error.square() + error_2.square() + SCATTER_DEX**2).sqrt()


class PairCoordinates(Coordinates):
    """Labels of two stars as unconstrained coordinates: those of one star, and `SECOND` before the further elements.

    In their coordinates Teff, log g, root of v sin i, the deviation of the light ratio from the one expected, and the
    velocities have standard normal priors. Microturbulence and macroturbulence of star 2 are the usual ones.
    """

    def __init__(self, one: Coordinates) -> None:
        """With the coordinates of a single star."""
        self.one, self.simulator, self.transform, self.drawn = one, one.simulator, one.transform, one.drawn
        self.names = (*one.names[: one.main], *SECOND, *one.names[one.main :])
        self.main, self.columns = one.main + len(SECOND), one.columns
        self._rows = [self.names.index(name) for name in one.names]
        self._second = [self.names.index(name) for name in SECOND]
        self._middle_aa = float(self.simulator.pixels.wavelength_aa.mean())
        k = len(self.names)
        self.centre = one.centre.new_zeros(k)
        self.precision, self.spread = torch.eye(k, dtype=torch.float64), torch.eye(k, dtype=torch.float64)
        self.centre[self._rows] = one.centre
        rows = torch.tensor(self._rows)
        self.precision[rows[:, None], rows] = one.precision
        self.spread[rows[:, None], rows] = one.spread

    def labels(self, theta: Tensor) -> Tensor:
        """Labels (..., k) of coordinates (..., k), in the order of the names."""
        first = self.one.labels(self.first(theta))
        columns = list(self.first(theta).unbind(-1))
        for name, column in zip(OWN, self._second, strict=False):
            columns[self.one.names.index(name)] = theta[..., column]
        second = self.one.labels(torch.stack(columns, -1))
        a, b = (dict(zip(self.one.names, x.unbind(-1), strict=True)) for x in (first, second))
        mean, width = self.expected(a, b)
        ratio = 10 ** (mean + width * theta[..., self._second[3]])
        velocities = VELOCITY_KMS * theta[..., self._second[4:]]
        added = torch.cat([torch.stack([*(b[name] for name in OWN), ratio], -1), velocities], -1)
        return torch.cat([first[..., : self.one.main], added, first[..., self.one.main :]], -1)

    def expected(self, first: dict[str, Tensor], second: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (n,) of the log10 of the light ratio for labels by name."""
        teff, logg = (first["teff"], second["teff"]), (first["logg"], second["logg"])
        return log_light_ratio(teff, logg, first["mh"], self._middle_aa)

    def full(self, labels: Tensor) -> Tensor:
        """The simulator's labels of star 1, of star 2, light ratio and velocities (n, 2 all + 3)."""
        first = self.one.full(labels[..., self._rows])
        values = dict(zip(self.names, labels.unbind(-1), strict=True))
        names, space = self.simulator.labels, self.simulator.space
        second = dict(zip(names, first.unbind(-1), strict=True)) | {name: values[f"{name}_2"] for name in OWN}
        usual = RELATIONS["doyle2014"]
        assert isinstance(usual, Relation)
        second |= {"vmic": usual_vmic(second["teff"], second["logg"]), "vmac": usual.mean(second)}
        ends = dict(zip(space.names, zip(space.lower, space.upper, strict=True), strict=True))
        for name in ("vmic", "vmac"):
            second[name] = second[name].clamp(*ends[name])
        rest = [values[name] for name in SECOND[len(OWN) :]]
        return torch.cat([first, torch.stack([*(second[name] for name in names), *rest], -1)], -1)

    def log_prior(self, theta: Tensor) -> Tensor:
        """Log density of the prior per unit of the coordinates (n, k)."""
        own = theta[:, self._second]
        normal = -0.5 * own.square().sum(1) - len(SECOND) / 2 * math.log(2 * math.pi)
        return self.one.log_prior(self.first(theta)) + normal

    def spectra(self, theta: Tensor, resolution: Tensor | float) -> Tensor:
        """Spectra (n, p) of pairs, float32."""
        full = self.full(self.labels(theta)).float()
        return pair_spectra(self.simulator, full, torch.as_tensor(resolution).expand(len(full)))

    def first(self, theta: Tensor) -> Tensor:
        """Coordinates (..., m) of star 1 of those of a pair (..., k)."""
        return theta[..., self._rows]

    def joined(self, one: Tensor, second: Tensor) -> Tensor:
        """Coordinates (n, k) from those of star 1 (n, m) and of `SECOND` (n, 6)."""
        return torch.cat([one[:, : self.one.main], second, one[:, self.one.main :]], 1)


def pair_spectra(simulator: Simulator, full: Tensor, resolution: Tensor) -> Tensor:
    """Flux (n, p) of pairs of labels as `PairCoordinates.full` has them (n, 2 all + 3) at R (n,)."""
    k = len(simulator.labels)
    ratio, *velocities = full[:, 2 * k :].unbind(1)
    both = torch.cat([full[:, :k], full[:, k : 2 * k]])
    first, second = simulator.spectra(both, resolution.repeat(2), torch.cat(velocities)).chunk(2)
    return torch.lerp(first, second, (ratio / (1 + ratio))[:, None].to(first))


class PairErrors(ErrorModel):
    """Errors of the spectrum of two stars: those of the physics of each, by its light.

    Both stars have the errors of the same lines, which add up where lines coincide and are independent where they do
    not: their correlation is exp(-dv^2 / (4 s^2)), s the standard deviation of a line by instrument and rotation. Two
    equal stars at one velocity have the errors of one. The continuum is common. The velocity's column is left out: both
    velocities are fitted.
    """

    def __init__(self, errors: ErrorModel) -> None:
        """With the errors of single stars."""
        super().__init__(errors.simulator, errors.model_error, errors.distortion_kms, errors.profile, errors.spread)

    def flux(self, labels: Tensor, resolution: Tensor) -> Tensor:
        """Spectra (n, p) of pairs, for labels as `PairCoordinates.full` has them (n, 2 all + 3)."""
        return pair_spectra(self.simulator, labels.float(), resolution)

    def physics(self, star: PixelSpectra, labels: Tensor, model: Tensor) -> tuple[Tensor, float]:
        """As of a single star: both stars' errors, each moved by its velocity and scaled by its light."""
        k = len(self.simulator.labels)
        ratio, *velocities = labels[2 * k :].tolist()
        lights = (1 / (1 + ratio), ratio / (1 + ratio))
        errors, shown = [], 0.0
        for own, light, velocity in zip((labels[:k], labels[k : 2 * k]), lights, velocities, strict=True):
            error, share = super().physics(star, own, model)
            errors.append(light * error.roll(round(velocity / self.simulator.pixels.grid.step_kms)))
            shown += light * share
        vsini = float(labels[[self.simulator.labels.index("vsini"), k + self.simulator.labels.index("vsini")]].max())
        width2 = float(instrument_sigma(star.resolution)) ** 2 + (vsini / 2) ** 2 + _LINE_KMS**2
        same = math.exp(-((velocities[1] - velocities[0]) ** 2) / (4 * width2))
        first, second = errors
        return (first.square() + second.square() + 2 * same * first * second).sqrt(), shown

    def columns(
        self,
        star: PixelSpectra,
        labels: Tensor,
        models: tuple[Tensor, Tensor, Tensor],
        own: float = 1.0,
        common: float = 1.0,
    ) -> Tensor:
        """As of a single star of the labels of star 1, without velocity."""
        columns = super().columns(star, labels[: len(self.simulator.labels)], models, own, common)
        return torch.cat([columns[:-3], columns[-2:]])


def pair_starts(pair: PairCoordinates, star: PixelSpectra, single: Mode, count: int = 3) -> Tensor:
    """Coordinates (count, k) of the best of some hundred pairs, at different velocity differences.

    Star 1 is the best single star, also rotating slowly; star 2 of several temperatures, light ratios and velocities.

    Args:
        pair: the coordinates.
        star: the data.
        single: the best single star.
        count: of starts.
    """
    one = pair.one
    rows, changes = [], []
    labels = dict(zip(one.names, one.labels(single.theta).tolist(), strict=True))
    for slow in (False, True):
        first = labels | ({"vsini": min(labels["vsini"], _SLOW_KMS)} if slow else {})
        for factor in _TEMPERATURES:
            for ratio in _RATIOS:
                second = _second_star(pair, first, factor, ratio)
                for change in (sign * size for size in _CHANGES for sign in (-1, 1)):
                    v1 = -change * ratio / (1 + ratio) if abs(change) < _BLENDED_KMS else 0.0
                    velocity = torch.tensor([v1, v1 + change], dtype=torch.float64) / VELOCITY_KMS
                    rows.append((one.transform.unconstrained(_tensor(one, first)), torch.cat([second, velocity])))
                    changes.append(change)
    firsts, seconds = (torch.stack(part) for part in zip(*rows, strict=True))
    firsts[:, [one.names.index(n) for n in one.names if n != "vsini"]] = single.theta[
        [one.names.index(n) for n in one.names if n != "vsini"]
    ]
    theta = pair.joined(firsts, seconds)
    weight = single.noise
    chi2 = torch.cat([weight.chi2(pair.spectra(part, star.resolution).double()) for part in theta.split(128)])
    found: list[int] = []
    for row in chi2.argsort().tolist():
        if all(abs(changes[row] - changes[other]) > 0.4 * abs(changes[other]) for other in found):
            found.append(row)
        if len(found) == count:
            break
    return theta[found]


def _second_star(pair: PairCoordinates, first: dict[str, float], factor: float, ratio: float) -> Tensor:
    """Coordinates (4,) of star 2 and its light ratio: a temperature relative to star 1, log g for the light ratio."""
    one = pair.one
    teff = min(max(factor * first["teff"], _COOLEST_K), one.transform.space.upper[one.names.index("teff")])
    second = first | {"teff": teff, "vsini": min(first["vsini"], 2 * _SLOW_KMS)}
    a = {name: torch.tensor(x, dtype=torch.float64) for name, x in first.items()}
    for _ in range(3):  # the mass depends on log g by little
        b = a | {name: torch.tensor(x, dtype=torch.float64) for name, x in second.items()}
        second["logg"] += float(pair.expected(a, b)[0]) - math.log10(ratio)
        second["logg"] = min(max(second["logg"], 0.0), 5.0)
    theta = one.transform.unconstrained(_tensor(one, second)).clamp(-2.5, 2.5)
    return torch.stack([*(theta[one.names.index(name)] for name in OWN), theta.new_zeros(())])


def _tensor(one: Coordinates, labels: dict[str, float]) -> Tensor:
    return torch.tensor([labels[name] for name in one.names], dtype=torch.float64)
