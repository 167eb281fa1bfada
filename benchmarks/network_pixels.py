"""What a network loses by seeing spectra degraded and on coarse pixels: standard deviations of labels over their bound.

    python benchmarks/network_pixels.py

For stars observed at R = 100,000 (or that of `--resolution`) with white noise, the Cramer-Rao bound of Teff, log g,
[M/H], microturbulence, the alpha elements and v sin i together is compared, for steps and reference resolutions, with
(best) the bound from what the pixels hold, whose frequencies end at 1 / (2 step); (plain) the error of least squares
that takes the degraded pixels as independent. Sums are over Fourier modes; the continuum is taken as known.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from smoke import parse

from maury.broadening import instrument, remaining_resolution, rotation
from maury.cli.console import out
from maury.emulator import Emulator, load

STARS = {
    "Sun": (5772, 4.44, 0.0, 1.0, 0.0, 2.0),
    "K giant": (4800, 2.5, 0.0, 1.5, 0.0, 3.0),
    "K dwarf": (4500, 4.6, 0.2, 0.9, 0.0, 2.0),
    "metal-poor": (5800, 4.0, -2.0, 1.3, 0.3, 3.0),
    "F, 20 km/s": (6500, 4.0, 0.0, 1.6, 0.0, 20.0),
}
STEPS = (50.0, 0.1, 0.05, 0.1, 0.05, 0.5)
CASES = ((2.0, 50_000), (2.0, 115_000), (1.0, 115_000), (1.0, 70_000), (1.5, 65_000), (3.0, 35_000), (4.0, 25_000))


def slopes(emulator: Emulator, star: NDArray[np.float64]) -> torch.Tensor:
    """Derivatives (6, m) of the rotating star's modes by its labels."""

    def modes(x: NDArray[np.float64]) -> torch.Tensor:
        known = dict(zip(("teff", "logg", "mh", "vmic"), x, strict=False)) | dict.fromkeys(("mg", "ca", "ti"), x[4])
        row = torch.tensor([[known.get(name, 0.0) for name in emulator.space.names]]).float()
        return (emulator.modes(row) * rotation(emulator.frequency, torch.tensor([x[5]]).float()))[0].to(
            torch.complex128
        )

    steps = np.diag(STEPS)
    return torch.stack([(modes(star + s) - modes(star - s)) / (2 * s.max()) for s in steps])


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Real inner products over modes."""
    return (a.conj() @ b.T).real


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=float, default=100_000.0)
    own = parse(parser, lambda _: []).resolution
    emulator = load()
    frequency = emulator.frequency.double()
    out.print("star; step km/s, R: best and plain for Teff, log g, [M/H]", markup=False)
    for name, labels in STARS.items():
        derivative = slopes(emulator, np.array(labels)) * instrument(frequency, torch.tensor(own))
        bound = product(derivative, derivative).inverse().diagonal().sqrt()
        for step, resolution in CASES:
            kept = frequency <= 0.5 / step
            inside = derivative[:, kept]
            best = product(inside, inside).inverse().diagonal().sqrt() / bound
            kernel = torch.ones(int(kept.sum()), dtype=torch.float64)
            if resolution < own:
                kernel = instrument(frequency[kept], remaining_resolution(torch.tensor(float(resolution)), own))
            seen = inside * kernel
            inverse = product(seen, seen).inverse()
            plain = (inverse @ product(seen * kernel, seen * kernel) @ inverse).diagonal().sqrt() / bound
            shown = "  ".join(f"{float(b):.2f} {float(p):.2f}" for b, p in zip(best[:3], plain[:3], strict=True))
            out.print(f"{name:12s} {step:g} {resolution:6d}: {shown}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
