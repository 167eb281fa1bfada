"""Strong and well-known lines of 5050 to 5350 and 5980 to 6280 Å, to name lines in figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# fmt: off
STRONG_LINES: dict[str, tuple[float, ...]] = {
    "Mg I": (5167.321, 5172.684, 5183.604),
    "Ca I": (
        5188.844, 5260.387, 5261.704, 5262.241, 5264.237, 5265.556, 5270.27, 5349.465,
        6102.723, 6122.217, 6161.297, 6162.173, 6166.439, 6169.042, 6169.563,
    ),
    "Ca II": (5285.27, 5307.22, 5339.188),
    "Ti I": (
        5064.653, 5147.478, 5152.183, 5173.743, 5192.969, 5210.384, 5219.702, 5224.301,
        6126.216, 6258.102, 6261.098,
    ),
    "Ti II": (5129.156, 5154.068, 5185.902, 5188.687, 5211.53, 5226.539, 5336.786),
    "Cr I": (
        5204.498, 5206.023, 5208.409, 5247.565, 5264.153, 5265.714, 5296.691, 5297.377, 5298.272,
        5329.138, 5345.796, 5348.314,
    ),
    "Cr II": (5237.322, 5274.975, 5279.877, 5305.864, 5313.581, 5334.868),
    "Fe I": (
        5049.819, 5051.635, 5060.079, 5065.018, 5068.766, 5072.078, 5074.748, 5078.974, 5079.224,
        5079.74, 5083.339, 5090.773, 5096.997, 5098.697, 5107.447, 5107.641, 5110.413, 5123.72,
        5125.116, 5127.36, 5127.68, 5133.689, 5137.381, 5139.252, 5139.462, 5141.739, 5142.54,
        5142.928, 5145.094, 5148.229, 5150.84, 5151.911, 5159.058, 5162.272, 5165.41, 5166.282,
        5167.489, 5168.898, 5171.596, 5191.454, 5192.343, 5194.942, 5195.471, 5198.71, 5202.336,
        5204.583, 5208.594, 5215.181, 5216.274, 5217.389, 5225.525, 5226.862, 5227.19, 5229.845,
        5232.94, 5242.491, 5247.05, 5250.21, 5250.646, 5254.956, 5263.306, 5266.554, 5269.537,
        5270.357, 5273.164, 5281.79, 5283.621, 5302.303, 5307.361, 5324.179, 5328.039, 5328.532,
        5332.9, 5339.929, 5341.024,
        6003.012, 6008.556, 6020.169, 6024.058, 6056.005, 6065.482, 6078.491, 6136.615, 6137.692, 6157.728,
        6170.506, 6173.334, 6191.558, 6200.313, 6213.43, 6219.281, 6230.722, 6246.318, 6252.555, 6254.258,
        6256.361, 6265.132,
    ),
    "Fe II": (
        5144.351, 5169.033, 5197.577, 5234.625, 5254.92, 5260.254, 5264.812, 5276.002, 5284.109,
        5306.182, 5316.615, 5316.784, 5325.553, 5339.594,
        6084.111, 6149.258, 6238.392, 6247.557,
    ),
    "Ni I": (
        5080.533, 5081.11, 5084.089, 5102.966, 5115.392, 5137.074, 5146.482, 5155.764,
        6108.107, 6175.36, 6176.807, 6191.171,
    ),
    "C I": (5052.167,),
    "Si II": (5055.984, 5056.316),
    "Sc II": (5239.813, 6245.637),
    "Mn I": (5341.057, 6013.488, 6016.637, 6021.793),
    "Co I": (5342.695,),
    "V I": (6090.214, 6199.197, 6216.354, 6243.105),
    "Na I": (6154.226, 6160.747),
    "Si I": (6155.134, 6237.319, 6243.815),
    "Ba II": (6141.713,),
    "Cu I": (5105.541, 5153.23, 5218.202),
    "Y II": (5087.416, 5200.406, 5205.724),
    "Nd II": (5249.576, 5319.815),
    "C2": (5165.24,),
    "MgH": (5211.1,),
}
# fmt: on
"""Laboratory wavelengths (Å, air) by atom and ion: the strongest lines of K, G and A stars, heads of C2 and MgH."""

_MINOR = ("C2", "MgH", "Ca II", "Si II", "Sc II", "Mn I", "Co I", "Nd II")
"""Band heads, and species whose lines here are minor components of blends in most stars."""

_WITHIN_AA = 0.05

_WINGS = {
    "Mg I": ((5167.321, 5172.684, 5183.604), 2.5),
    "Cr I": ((5204.498, 5206.023, 5208.409), 0.6),
    "Fe I": ((5227.19, 5232.94, 5269.537, 5270.357, 5324.179, 5328.039), 0.6),
}
"""Lines with broad wings, and half-width of the wings, Å."""


def named_lines(first_aa: float, last_aa: float) -> list[tuple[str, float]]:
    """Species and wavelengths (Å) of lines between two wavelengths; else the line whose wing covers them."""
    found = [(aa, species) for species, lines in STRONG_LINES.items() for aa in lines if first_aa <= aa <= last_aa]
    if not found:
        middle = (first_aa + last_aa) / 2
        wings = [
            (abs(aa - middle), aa, k)
            for k, (lines, reach) in _WINGS.items()
            for aa in lines
            if abs(aa - middle) < reach
        ]
        found = [(aa, f"wing of {species}") for _, aa, species in sorted(wings)[:1]]
    return [(species, aa) for aa, species in sorted(found)]


def deepest_lines(
    wavelength_aa: ArrayLike, flux: ArrayLike, separation_aa: float = 0.1, least_depth: float = 0.2
) -> list[tuple[str, float]]:
    """Species and wavelengths (Å) of the strong lines in a spectrum; of close neighbours only the deepest.

    Args:
        wavelength_aa: increasing wavelengths (n,) in the rest frame, Å air.
        flux: continuum-normalised flux (n,), preferably of a model; NaN where unknown.
        separation_aa: least distance between two lines, Å.
        least_depth: least depth of a line, per unit of the continuum.
    """
    wavelength, flux = np.asarray(wavelength_aa, float), np.asarray(flux, float)
    found = []
    for species, lines in STRONG_LINES.items():
        for place in lines if species not in _MINOR else ():
            near = np.abs(wavelength - place) < _WITHIN_AA
            depth = 1 - float(np.min(flux[near], initial=1.0, where=np.isfinite(flux[near])))
            if depth >= least_depth:
                found.append((depth, place, species))
    chosen: list[tuple[float, str]] = []
    for _, place, species in sorted(found, key=lambda line: -line[0]):
        if all(abs(place - other) >= separation_aa for other, _ in chosen):
            chosen.append((place, species))
    return [(species, place) for place, species in sorted(chosen)]
