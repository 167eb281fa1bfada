"""Synthetic grids in the formats of their originals, written from spectra that are known exactly at any wavelength.

A spectrum is a product of Gaussian lines at fixed air wavelengths (Mg b among them) whose depths follow the labels,
times a smooth continuum where a format has absolute flux; so what is imported can be compared with the truth, pixel by
pixel.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table

from maury.wavelengths import air_to_vacuum, vacuum_to_air

WINDOW = (5160.0, 5195.0)
"""Of the tests: around Mg b."""

SPAN = (5150.0, 5205.0)
"""What the files cover, Å air."""

NODES = tuple(itertools.product((5000.0, 5500.0), (4.0, 4.5), (-0.5, 0.0)))
"""Teff, log g, [M/H] of the spectra that are written."""

_MGB = (5167.32, 5172.68, 5183.60)
_CENTRES = np.concatenate([_MGB, np.random.default_rng(8).uniform(5152, 5203, 40)])
_WEIGHTS = np.random.default_rng(9).normal(0, 0.6, (len(_CENTRES), 3))


def truth(air_aa: np.ndarray, teff: float, logg: float, mh: float) -> np.ndarray:
    """Continuum-normalised flux at air wavelengths (Å); lines of 0.1 Å (sigma) and more."""
    unit = np.array([(teff - 5250) / 500, logg - 4.25, mh + 0.25])
    depths = 0.4 / (1 + np.exp(-_WEIGHTS @ unit))
    depths[:3] = 0.7 + 0.1 * unit[2]
    flux = np.ones(np.shape(air_aa))
    for centre, depth, width in zip(_CENTRES, depths, [0.2] * 3 + [0.1] * 40, strict=True):
        flux *= 1 - depth * np.exp(-0.5 * ((air_aa - centre) / width) ** 2)
    return flux


def continuum(air_aa: np.ndarray, teff: float) -> np.ndarray:
    """A continuum in erg/s/cm2/cm that falls by a few percent over the window."""
    x = (np.asarray(air_aa) - 5177) / 30
    return 1e14 * (teff / 5000) ** 4 * (1 - 0.02 * x + 0.002 * x**2)


def air_pixels(step: float = 0.01) -> np.ndarray:
    """Linear air wavelengths over `SPAN`."""
    return np.arange(SPAN[0], SPAN[1], step)


def vacuum_pixels(step: float = 0.01) -> np.ndarray:
    """Linear vacuum wavelengths over `SPAN`."""
    low, high = air_to_vacuum(SPAN)
    return np.arange(low, high, step)


def phoenix(folder: Path, nodes: Sequence[tuple[float, float, float]] = NODES, step: float = 0.01) -> Path:
    """HiRes FITS in folders by metallicity, the wavelength file above them."""
    wave = vacuum_pixels(step)
    air = vacuum_to_air(wave)
    folder.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(wave, fits.Header({"UNIT": "Angstrom"})).writeto(
        folder / "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits", overwrite=True
    )
    for teff, logg, mh in nodes:
        sign = f"{mh:+.1f}" if mh else "-0.0"
        place = folder / f"Z{sign}"
        place.mkdir(exist_ok=True)
        flux = (truth(air, teff, logg, mh) * continuum(air, teff)).astype(">f4")
        hdu = fits.PrimaryHDU(flux)
        cards = {"PHXTEFF": teff, "PHXLOGG": logg, "PHXM_H": mh, "PHXALPHA": 0.0, "PHXXI_L": 1 + teff / 1e4}
        hdu.header.update(cards)
        abundances = fits.table_to_hdu(Table({"element": ["H"], "abundance": [12.0]}))
        name = f"lte{teff:05.0f}-{logg:.2f}{sign}.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits"
        fits.HDUList([hdu, abundances]).writeto(place / name, overwrite=True)
    return folder


def cfa(folder: Path, logarithmic: bool = False) -> Path:
    """CfA names, normalised flux, a linear or logarithmic axis (IRAF's DC-FLAG), each star at rest and at 20 km/s."""
    folder.mkdir()
    for (teff, logg, mh), vsini in itertools.product(NODES, (0, 20)):
        header = fits.Header({"CRPIX1": 1.0, "CRVAL1": SPAN[0], "CDELT1": 0.01, "CTYPE1": "LINEAR"})
        air = SPAN[0] + 0.01 * np.arange(5400)
        if logarithmic:
            header.update({"CRVAL1": np.log10(SPAN[0]), "CDELT1": 9e-7, "DC-FLAG": 1})
            air = 10 ** (np.log10(SPAN[0]) + 9e-7 * np.arange(5000))
        flux = 1 - (1 - truth(air, teff, logg, mh)) * (1 - vsini / 50)
        name = (
            f"t{teff:05.0f}g{10 * logg:02.0f}{'m' if mh < 0 else 'p'}{abs(10 * mh):02.0f}ap00k2v{vsini:03d}z1i00.fits"
        )
        fits.PrimaryHDU(flux.astype(np.float32), header).writeto(folder / name)
    return folder


def header_fits(folder: Path) -> Path:
    """One FITS per spectrum with labels in the header and arbitrary names, CTYPE1 = AWAV."""
    folder.mkdir()
    for number, (teff, logg, mh) in enumerate(NODES):
        cards = {"CRPIX1": 1.0, "CRVAL1": SPAN[0], "CDELT1": 0.01, "CTYPE1": "AWAV", "CUNIT1": "Angstrom"}
        header = fits.Header({**cards, "TEFF": teff, "LOG_G": logg, "FEH": mh, "VTURB": 2.0})
        flux = truth(air_pixels(), teff, logg, mh).astype(np.float32)
        fits.PrimaryHDU(flux, header).writeto(folder / f"model{number}.fits")
    return folder


def bosz_2017(folder: Path, packed: bool = True) -> Path:
    """ASCII of vacuum wavelength, flux, continuum, packed by bzip2."""
    folder.mkdir()
    wave = vacuum_pixels(0.02)
    for teff, logg, mh in NODES:
        name = _bosz_2017_name(teff, logg, mh) + ".asc.bz2"
        rows = _three_columns(wave, vacuum_to_air(wave), (teff, logg, mh))
        text = "".join(f"{w:14.5f} {f:.8e} {c:.8e}\n" for w, f, c in rows)
        (folder / name).write_bytes(bz2.compress(text.encode()))
    return folder


def bosz_2017_fits(folder: Path) -> Path:
    """FITS tables of 2017."""
    folder.mkdir()
    wave = vacuum_pixels(0.02)
    for teff, logg, mh in NODES:
        rows = _three_columns(wave, vacuum_to_air(wave), (teff, logg, mh))
        table = Table(rows, names=["Wavelength", "SpecificIntensity", "Continuum"])
        fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)]).writeto(
            folder / f"{_bosz_2017_name(teff, logg, mh)}.fits"
        )
    return folder


def _bosz_2017_name(teff: float, logg: float, mh: float) -> str:
    sign = "m" if mh < 0 else "p"
    return f"am{sign}{abs(10 * mh):02.0f}cp00op00t{teff:.0f}g{10 * logg:.0f}v20modrt0b50000rs"


def bosz_2024(folder: Path) -> Path:
    """Packed ASCII of flux and continuum in air, in folders by metallicity; wavelengths in one file above."""
    folder.mkdir()
    air = np.geomspace(SPAN[0], SPAN[1], 2600)
    np.savetxt(folder / "bosz2024_wave_r50000.txt", air, fmt="%.8f")
    for teff, logg, mh in NODES:
        place = folder / "r50000" / f"m{mh:+.2f}"
        place.mkdir(parents=True, exist_ok=True)
        name = f"bosz2024_mp_t{teff:.0f}_g{logg:+.1f}_m{mh:+.2f}_a+0.00_c+0.00_v2_r50000_resam.txt.gz"
        rows = _three_columns(air, air, (teff, logg, mh))[:, 1:]
        text = "".join(f"{f:.8e} {c:.8e}\n" for f, c in rows)
        (place / name).write_bytes(gzip.compress(text.encode()))
    return folder


def _three_columns(wave: np.ndarray, air: np.ndarray, node: tuple[float, float, float]) -> np.ndarray:
    level = continuum(air, node[0])
    return np.column_stack([wave, truth(air, *node) * level, level])


def pollux(folder: Path) -> Path:
    """``.spec`` of wavelength, absolute and normalised flux, each in a folder with its description."""
    for teff, logg, mh in NODES:
        name = f"M_s{teff:.0f}g{logg:.1f}z{mh:.2f}t1.0_a0.00c0.00n0.00o0.00r0.00s0.00_VIS.spec"
        place = folder / f"{name}.flat"
        place.mkdir(parents=True)
        air = air_pixels(0.02)
        level, flux = continuum(air, teff) * 1e-8, truth(air, teff, logg, mh)
        text = "".join(f"{w:.3f} {f * c:.7e} {f:.7f}\n" for w, f, c in zip(air, flux, level, strict=True))
        (place / name).write_text("# POLLUX\n" + text)
        (place / f"{name}.txt").write_text(f"effective temperature   {teff:.0f} K\nlog g     {logg:.2f}\n")
    return folder


def marcs_name(teff: float, logg: float, mh: float, colons: bool = False) -> str:
    """Name as of a MARCS model; AMBRE's with colons."""
    name = f"p{teff:.0f}_g{logg:+.1f}_m0.0_t{1 if logg > 4.2 else 2:02d}_st_z{mh:+.2f}_a+0.00_c+0.00_n+0.00_o+0.00"
    return name.replace("_st", "").replace("_", ":") if colons else name


def ambre(folder: Path) -> Path:
    """Three columns, names with colons."""
    folder.mkdir()
    air = air_pixels()
    for node in NODES:
        flux = truth(air, *node)
        rows = np.column_stack([air, flux * continuum(air, node[0]) * 1e-8, flux])
        np.savetxt(folder / f"{marcs_name(*node, colons=True)}.AMBRE", rows, fmt="%.3f %.6e %.7f")
    return folder


def turbospectrum(folder: Path, absolute: bool = True) -> Path:
    """bsyn's output: wavelength, normalised flux, absolute flux, Fortran exponents."""
    folder.mkdir()
    air = air_pixels()
    for node in NODES:
        flux = truth(air, *node)
        rows = [air, flux, flux * continuum(air, node[0]) * 1e-8][: 3 if absolute else 2]
        lines = [" ".join([f"{row[0]:10.3f}", *[f"{x:.8E}" for x in row[1:]]]) for row in zip(*rows, strict=True)]
        (folder / f"{marcs_name(*node)}.spec").write_text("\n".join(lines).replace("E", "D") + "\n")
    return folder


def moog(folder: Path, as_flux: bool = False) -> Path:
    """summary_out: abundances, MODEL line, axis, depths of four decimals, ten to a line."""
    folder.mkdir()
    air = air_pixels(0.02)
    for teff, logg, mh in NODES:
        flux = truth(air, teff, logg, mh)
        values = flux if as_flux else 1 - flux
        words = [f"{value:7.4f}" for value in values]
        words[0] = "*******" if not as_flux else words[0]
        head = [
            f"ALL abundances NOT listed below differ from solar by {mh:6.2f} dex",
            "element Mg:  abundance =  7.60",
            f"MODEL:           Teff = {teff:.0f}           log g = {logg:.1f}           vt= 1.50 M/H={mh:5.2f} ",
            f"{air[0]:11.3f}{air[-1]:11.3f}{0.02:11.3f}{1.0:11.3f}",
        ]
        rows = ["".join(words[i : i + 10]) for i in range(0, len(words), 10)]
        (folder / f"synth_{teff:.0f}_{logg:.1f}_{mh:.1f}.sum").write_text("\n".join(head + rows) + "\n")
    return folder


def ferre(path: Path, hole: int | None = None, logw: int = 0, vacuum: int = 0) -> Path:
    """A FERRE grid of normalised flux; ``hole`` is a row of zeros; one dimension has a single value."""
    if logw:
        start, step, count = np.log10(SPAN[0]), 2e-6, 2270
        wave = 10 ** (start + step * np.arange(count))
    else:
        start, step = SPAN[0], 0.02
        wave = start + step * np.arange(2700)
    air = vacuum_to_air(wave) if vacuum else wave
    head = f"""&SYNTH
 SYNTHFILE_INTERNAL = 'f_test.dat'
 ID = 'test'
 N_OF_DIM = 4
 N_P = 2 2 2 1
 NPIX = {len(wave)}
 LLIMITS = -0.5 4.0 5000.0 0.176091
 STEPS = 0.5 0.5 500.0 0.1
 LABEL(1) = '[M/H]'
 LABEL(2) = 'LOGG'
 LABEL(3) = 'TEFF'
 LABEL(4) = 'LOG10VDOP'
 WAVE = {start:.10f} {step:.10e}
 LOGW = {logw}
 VACUUM = {vacuum}
 RESOLUTION = 100000.0
 /
"""
    rows = []
    for row, (mh, logg, teff) in enumerate(itertools.product((-0.5, 0.0), (4.0, 4.5), (5000.0, 5500.0))):
        flux = truth(air, teff, logg, mh) * (row != hole)
        rows.append(" ".join(f"{value:.6f}" for value in flux))
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def hdf5(path: Path, labels: str = "columns") -> Path:
    """The generic layout, with labels as columns of a table, as a matrix with names, or as datasets."""
    air = air_pixels(0.02)
    nodes = np.array(NODES)
    with h5py.File(path, "w") as file:
        file.attrs.update(medium="air", resolution=300_000.0)
        file["wavelength"] = air
        file["flux"] = np.stack([truth(air, *node) * continuum(air, node[0]) for node in NODES])
        file["continuum"] = np.stack([continuum(air, node[0]) for node in NODES])
        if labels == "columns":
            file["labels"] = np.rec.fromarrays(nodes.T, names=["Teff", "log_g", "[Fe/H]"])
        elif labels == "matrix":
            file["labels"] = nodes
            file["labels"].attrs["names"] = ["teff", "logg", "mh"]
        else:
            file["teff"], file["logg"], file["feh"] = nodes.T
    return path


def korg(folder: Path) -> Path:
    """One HDF5 per spectrum: wls (vacuum), flux, cntm; labels among the attributes."""
    folder.mkdir()
    wave = vacuum_pixels(0.02)
    air = vacuum_to_air(wave)
    for number, (teff, logg, mh) in enumerate(NODES):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file["wls"], file["cntm"] = wave, continuum(air, teff)
            file["flux"] = truth(air, teff, logg, mh) * continuum(air, teff)
            file.attrs.update(Teff=teff, logg=logg, M_H=mh, medium="vacuum")
    return folder


def plain_text(folder: Path) -> Path:
    """Two columns under arbitrary names, and a table that says what they are."""
    folder.mkdir()
    rows = ["file,teff,logg,mh"]
    for number, node in enumerate(NODES):
        air = air_pixels(0.02)
        np.savetxt(folder / f"run{number}.txt", np.column_stack([air, truth(air, *node)]), fmt="%.4f %.7f")
        rows.append(f"run{number}.txt,{node[0]},{node[1]},{node[2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "phoenix": ("phoenix", phoenix),
    "cfa-linear": ("atlas", cfa),
    "cfa-log": ("atlas", lambda path: cfa(path, logarithmic=True)),
    "fits-headers": ("atlas", header_fits),
    "bosz-2017": ("bosz", bosz_2017),
    "bosz-2017-fits": ("bosz", bosz_2017_fits),
    "bosz-2024": ("bosz", bosz_2024),
    "pollux": ("pollux", pollux),
    "ambre": ("ambre", ambre),
    "turbospectrum": ("turbospectrum", turbospectrum),
    "turbospectrum-2": ("turbospectrum", lambda path: turbospectrum(path, absolute=False)),
    "moog": ("moog", moog),
    "moog-flux": ("moog", lambda path: moog(path, as_flux=True)),
    "ferre": ("ferre", lambda path: ferre(path.with_suffix(".dat"))),
    "ferre-log-vacuum": ("ferre", lambda path: ferre(path.with_suffix(".dat"), logw=1, vacuum=1)),
    "hdf5-table": ("hdf5", lambda path: hdf5(path.with_suffix(".h5"))),
    "hdf5-matrix": ("hdf5", lambda path: hdf5(path.with_suffix(".h5"), "matrix")),
    "hdf5-datasets": ("hdf5", lambda path: hdf5(path.with_suffix(".h5"), "datasets")),
    "korg": ("hdf5", korg),
    "files": ("files", plain_text),
}
"""Kind on the command line and writer of each format."""
