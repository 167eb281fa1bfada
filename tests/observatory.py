"""A small simulated observatory: files of each family of formats, written from a star whose spectrum is known exactly.

The star is a sum of Gaussian lines, so its flux is known at any wavelength without interpolation, and a file read
back can be compared with the truth pixel by pixel: a wavelength error of 0.001 Å or a sigma off by 1 % shows.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.polynomial import chebyshev, legendre, polynomial

from maury.wavelengths import air_to_vacuum, vacuum_to_air

SNR = 100.0


def truth(air_aa: np.ndarray) -> np.ndarray:
    """Continuum-normalised flux of the star at rest at air wavelengths (Å): Mg b and 400 lines at fixed places."""
    rng = np.random.default_rng(5)
    centres = np.concatenate([[5167.321, 5172.684, 5183.604], rng.uniform(4990, 5410, 400)])
    depths = np.concatenate([[0.7, 0.75, 0.8], rng.uniform(0.05, 0.5, 400)])
    widths = np.concatenate([[0.25, 0.25, 0.25], rng.uniform(0.05, 0.08, 400)])
    wave = np.asarray(air_aa, float)
    flux = np.ones(wave.shape)
    flat_wave, flat_flux = wave.ravel(), flux.ravel()
    for centre, depth, width in zip(centres, depths, widths, strict=True):
        near = np.flatnonzero(np.abs(flat_wave - centre) < 8 * width)
        flat_flux[near] *= 1 - depth * np.exp(-0.5 * ((flat_wave[near] - centre) / width) ** 2)
    return flat_flux.reshape(wave.shape)


@dataclass
class Expected:
    """What reading a file has to give.

    Attributes:
        path: the file.
        scale: counts of the continuum.
        orders: number of orders.
        sigma: whether there is a noise array.
        medium: medium of the file.
        frame: frame of the wavelengths.
        resolution: resolution in the header.
        hints: keyword arguments of `maury.readers.read`.
    """

    path: Path
    scale: float = 1.0
    orders: int = 1
    sigma: bool = False
    medium: str = "air"
    frame: str = "unknown"
    resolution: float | None = None
    hints: dict | None = None


def observe(air_aa: np.ndarray, scale: float = 1.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Flux and sigma with white noise: S/N 100 in the continuum, sigma falling with the root of the flux."""
    model = truth(air_aa)
    sigma = scale * np.sqrt(np.clip(model, 0.05, None)) / SNR
    rng = np.random.default_rng(seed)
    return scale * model + sigma * rng.standard_normal(model.shape), sigma


def linear(step: float = 0.02, start: float = 5040.0, end: float = 5360.0) -> np.ndarray:
    """Wavelengths of constant step, Å."""
    return start + step * np.arange(round((end - start) / step))


def orders(count: int = 6, size: int = 2000, start: float = 5040.0, width: float = 65.0) -> np.ndarray:
    """Wavelengths (count, size) of overlapping orders with a slightly curved dispersion, Å."""
    x = np.linspace(-1, 1, size)
    centres = start + width / 2 + 0.8 * width * np.arange(count)
    return centres[:, None] + width / 2 * x - 0.6 * (x**2 - 1)


def _header(**cards) -> fits.Header:
    header = fits.Header()
    for key, value in cards.items():
        header[key.replace("__", " ").replace("_minus_", "-")] = value
    return header


def _write(path: Path, *hdus) -> Path:
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return path


def linear_fits(folder: Path) -> Expected:
    wave = linear()
    flux, _ = observe(wave, 300.0)
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1.0, CTYPE1="LINEAR", CUNIT1="Angstrom", SPEC_RES=44000.0)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)), 300.0, resolution=44000.0)


def no_unit_no_crpix(folder: Path) -> Expected:
    wave = linear()
    flux, _ = observe(wave)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, _header(CRVAL1=5040.0, CDELT1=0.02))))


def gzipped(folder: Path) -> Expected:
    expected = linear_fits(folder)
    packed = folder / "a.fits.gz"
    packed.write_bytes(gzip.compress(expected.path.read_bytes()))
    expected.path = packed
    return expected


def metres(folder: Path) -> Expected:
    flux, _ = observe(linear())
    header = _header(CRVAL1=5040e-10, CD1_1=0.02e-10, CRPIX1=1.0, CUNIT1="m", CTYPE1="AWAV")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)))


def decreasing(folder: Path) -> Expected:
    wave = linear()[::-1]
    flux, _ = observe(wave)
    header = _header(CRVAL1=wave[0], CDELT1=-0.02, CRPIX1=1.0, CUNIT1="Angstrom")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)))


def vacuum_log10(folder: Path) -> Expected:
    """IRAF DC-FLAG = 1, vacuum by keyword, barycentric by SPECSYS."""
    start, step, size = np.log10(5045.0), 1.6e-6, 16000
    air = vacuum_to_air(10 ** (start + step * np.arange(size)))
    flux, _ = observe(air)
    header = _header(CRVAL1=start, CDELT1=step, CRPIX1=1.0, VACUUM=True, SPECSYS="BARYCENT")
    header["DC-FLAG"] = 1
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux, header))
    return Expected(path, medium="vacuum", frame="barycentric")


def fits_log_axis(folder: Path) -> Expected:
    """FITS paper III, WAVE-LOG: lambda = r exp((w - r) / r), in nm, vacuum."""
    pixel = np.arange(1, 16001)
    reference, step = 520.0, 0.0019
    vacuum = reference * np.exp((pixel - 8000) * step / reference) * 10
    flux, _ = observe(vacuum_to_air(vacuum))
    header = _header(CRVAL1=reference, CDELT1=step, CRPIX1=8000.0, CTYPE1="WAVE-LOG", CUNIT1="nm")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)), medium="vacuum")


def hermes_ln(folder: Path) -> Expected:
    """HERMES (Mercator): natural logarithms, CTYPE1 tells only that they are logarithms."""
    start, step = np.log(5042.0), 3.1e-6
    flux, _ = observe(np.exp(start + step * np.arange(19000)), 60.0)
    header = _header(CRVAL1=start, CDELT1=step, CRPIX1=1.0, CTYPE1="log(wavelength)")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)), 60.0)


def cut_with_imcopy(folder: Path) -> Expected:
    """A section of an IRAF image: CRPIX1 moved, LTV1 left as a note on the physical pixels."""
    flux, _ = observe(linear()[100:])
    header = _header(CRVAL1=5040.0, CD1_1=0.02, CRPIX1=-99.0, LTV1=-100.0, CTYPE1="LINEAR", CUNIT1="Angstrom")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)))


def uves_popler(folder: Path) -> Expected:
    """Rows named by ARRAYn on one log10 axis, vacuum, heliocentric."""
    vacuum = 10 ** (3.703 + 1.1e-6 * np.arange(22000))
    flux, sigma = observe(vacuum_to_air(vacuum))
    header = _header(CRVAL1=3.703, CD1_1=1.1e-6, CRPIX1=1.0, VACUUM=True, SPECSYS="HELIOCENT")
    header["DC-FLAG"] = 1
    names = ("Normalized flux spectrum", "Normalized error spectrum", "Normalized expected fluctuation", "Status")
    for n, name in enumerate(names):
        header[f"ARRAY{n + 1}"] = name
    rows = np.stack([flux, sigma, sigma * 1.1, np.ones(22000)])
    path = _write(folder / "a.fits", fits.PrimaryHDU(rows, header))
    return Expected(path, sigma=True, medium="vacuum", frame="barycentric")


def two_rows(folder: Path) -> Expected:
    """Flux and its noise as two rows without names on one axis."""
    flux, sigma = observe(linear(), 9e4)
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1.0, CUNIT1="Angstrom")
    path = _write(folder / "a.fits", fits.PrimaryHDU(np.stack([flux, sigma]), header))
    return Expected(path, 9e4, sigma=True)


def wavelength_extension(folder: Path) -> Expected:
    """An extension named WAVE goes before an axis that only counts pixels."""
    wave = linear() + 0.3 * np.sin(np.arange(16000) / 5000)
    flux, sigma = observe(wave, 70.0)
    hdus = [fits.ImageHDU(wave, name="WAVE"), fits.ImageHDU(sigma, name="ERROR")]
    primary = fits.PrimaryHDU(flux, _header(CRVAL1=1.0, CDELT1=1.0, CRPIX1=1.0))
    return Expected(_write(folder / "a.fits", primary, *hdus), 70.0, sigma=True)


def sdss_coeff(folder: Path) -> Expected:
    vacuum = 10 ** (3.703 + 1e-6 * np.arange(25000))
    flux, _ = observe(vacuum_to_air(vacuum))
    header = _header(COEFF0=3.703, COEFF1=1e-6, TELESCOP="SDSS 2.5-M")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)), medium="vacuum", frame="barycentric")


def ispec_fits(folder: Path) -> Expected:
    flux, sigma = observe(linear())
    header = _header(CRVAL1=504.0, CDELT1=0.002, CRPIX1=1, CTYPE1="AWAV", CUNIT1="NM", ORIGIN="iSpec")
    second = fits.ImageHDU(sigma, header, name="SIGMA")
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header), second), sigma=True)


def ivar_extension(folder: Path) -> Expected:
    flux, sigma = observe(linear(), 50.0)
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1, CUNIT1="Angstrom")
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux, header), fits.ImageHDU(sigma**-2, name="IVAR"))
    return Expected(path, 50.0, sigma=True)


def unnamed_variance(folder: Path) -> Expected:
    flux, sigma = observe(linear(), 5e5)
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1, CUNIT1="Angstrom")
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux, header), fits.ImageHDU(sigma**2))
    return Expected(path, 5e5, sigma=True)


def apf_ndrs(folder: Path) -> Expected:
    """Flux and wavelength in two unnamed 1-D images."""
    wave = linear() + 0.3 * np.sin(np.arange(16000) / 5000)
    flux, _ = observe(wave)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux), fits.ImageHDU(wave)))


def galah(folder: Path) -> Expected:
    """GALAH DR3: flux, relative error named sigma, two sky extensions, normalised flux."""
    flux, sigma = observe(linear(), 3000.0)
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1, CUNIT1="Angstrom", INSTRUME="HERMES-2dF")
    names = {
        "input_sigma": sigma / flux,
        "no_sky_spectrum": flux + 100,
        "no_sky_sigma": sigma**2,
        "normalised_spectrum": flux / 3000,
    }
    others = [fits.ImageHDU(values, header, name=name) for name, values in names.items()]
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux, header), *others)
    return Expected(path, 3000.0, sigma=True, frame="barycentric")


def _drs(prefix: str) -> fits.Header:
    header = _header(CRVAL1=5040.0, CDELT1=0.02, CRPIX1=1.0, CTYPE1="Angstrom", TELESCOP=prefix)
    header[f"HIERARCH {prefix} DRS VERSION"] = "3.5"
    header[f"HIERARCH {prefix} DRS BERV"] = 12.5
    return header


def harps_s1d(folder: Path) -> Expected:
    flux, _ = observe(linear(), 900.0)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, _drs("ESO"))), 900.0, frame="barycentric")


def harpsn_s1d(folder: Path) -> Expected:
    flux, _ = observe(linear(), 900.0)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, _drs("TNG"))), 900.0, frame="barycentric")


def sophie_s1d(folder: Path) -> Expected:
    flux, _ = observe(linear(), 900.0)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, _drs("OHP"))), 900.0, frame="barycentric")


def harps_e2ds(folder: Path) -> Expected:
    x = np.arange(2000)
    table = np.stack([[5040.0 + 52 * o, 0.0326, -1.1e-7, 2e-12] for o in range(6)])
    wave = np.stack([polynomial.polyval(x, row) for row in table])
    flux, _ = observe(wave, 20000.0)
    header = _header(CRVAL1=0.0, CDELT1=1.0)
    header["HIERARCH ESO DRS BERV"] = -7.25
    header["HIERARCH ESO DRS CAL TH DEG LL"] = 3
    for i, value in enumerate(table.ravel()):
        header[f"HIERARCH ESO DRS CAL TH COEFF LL{i}"] = value
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux, header)), 20000.0, 6, frame="topocentric")


def makee(folder: Path) -> Expected:
    column = 23.0 + np.arange(2000)
    header = _header(CRVAL1=23, CDELT1=1, CRPIX1=1)
    vacuum = []
    for n in range(5):
        values = np.array([5040.0 + 60 * n, 0.036, -7.5e-7, -8.4e-11, 8.2e-14, -5.4e-17, 1.1e-20, 0.0])
        header[f"WV_0_{n + 1:02d}"] = " ".join(f"{v:.9E}" for v in values[:4])
        header[f"WV_4_{n + 1:02d}"] = " ".join(f"{v:.9E}" for v in values[4:])
        vacuum.append(polynomial.polyval(column, values))
    flux, _ = observe(vacuum_to_air(np.stack(vacuum)), 7000.0)
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux, header))
    return Expected(path, 7000.0, 5, medium="vacuum", frame="barycentric")


def eso_phase3(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave, 0.02)
    size = wave.size
    columns = [
        fits.Column("WAVE", f"{size}D", unit="angstrom", array=[wave]),
        fits.Column("FLUX_REDUCED", f"{size}D", unit="adu", array=[flux * 2e4 * (wave / 5000) ** 2]),
        fits.Column("ERR_REDUCED", f"{size}D", unit="adu", array=[sigma * 2e4]),
        fits.Column("BGFLUX_REDUCED", f"{size}D", unit="adu", array=[sigma]),
        fits.Column("FLUX", f"{size}D", unit="10**(-16)erg.cm**(-2)", array=[flux]),
        fits.Column("ERR", f"{size}D", unit="10**(-16)erg.cm**(-2)", array=[sigma]),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["TUCD1"] = "em.wl;obs.atmos"
    table.header["TUCD5"] = "phot.flux.density;em.wl;src.net;meta.main"
    primary = fits.PrimaryHDU(header=_header(SPECSYS="TOPOCENT", SPEC_RES=42310.0, CONTNORM=False))
    primary.header["HIERARCH ESO QC VRAD BARYCOR"] = 0.69
    path = _write(folder / "a.fits", primary, table)
    return Expected(path, 0.02, sigma=True, frame="topocentric", resolution=42310.0)


def espresso_s1d(folder: Path) -> Expected:
    vacuum = np.exp(np.log(5042.0) + 0.5 / 299792.458 * np.arange(36000))
    air = vacuum_to_air(vacuum)
    flux, sigma = observe(air, 4e4)
    quality = np.zeros(air.size, np.int32)
    quality[500:510] = 1
    table = Table({"wavelength": vacuum, "wavelength_air": air, "flux": flux, "error": sigma, "quality": quality})
    hdu = fits.BinTableHDU(table)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(), hdu), 4e4, sigma=True)


def espresso_s2d(folder: Path) -> Expected:
    air = orders()
    flux, sigma = observe(air, 4e4)
    vacuum = air_to_vacuum(air)
    names = {
        "SCIDATA": flux,
        "ERRDATA": sigma,
        "QUALDATA": np.zeros(air.shape, np.int32),
        "WAVEDATA_VAC_BARY": vacuum,
        "WAVEDATA_AIR_BARY": air,
        "DLLDATA_VAC_BARY": np.gradient(vacuum, axis=1),
        "DLLDATA_AIR_BARY": np.gradient(air, axis=1),
    }
    hdus = [fits.ImageHDU(values, name=name) for name, values in names.items()]
    path = _write(folder / "a.fits", fits.PrimaryHDU(), *hdus)
    return Expected(path, 4e4, 6, True, frame="barycentric")


def carmenes(folder: Path) -> Expected:
    air = orders()
    flux, sigma = observe(air, 0.3)
    names = {"SPEC": flux, "CONT": np.ones(air.shape), "SIG": sigma, "WAVE": air_to_vacuum(air)}
    hdus = [fits.ImageHDU(values, name=name) for name, values in names.items()]
    primary = fits.PrimaryHDU(header=_header(INSTRUME="CARMENES"))
    return Expected(_write(folder / "a.fits", primary, *hdus), 0.3, 6, True, "vacuum", "topocentric")


def pepsi(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave)
    table = Table({"Arg": wave, "Fun": flux, "Var": sigma**2, "Mask": np.zeros(wave.size, np.uint8)})
    primary = fits.PrimaryHDU(header=_header(INSTRUME="PEPSI", SSBVEL=12000.0, RADVEL=-3500.0))
    return Expected(_write(folder / "a.fits", primary, fits.BinTableHDU(table)), sigma=True, frame="rest")


def lamost_table(folder: Path) -> Expected:
    vacuum = 10 ** (3.703 + 1e-6 * np.arange(25000))
    flux, sigma = observe(vacuum_to_air(vacuum), 800.0)
    cells = {"FLUX": [flux], "IVAR": [sigma**-2], "WAVELENGTH": [vacuum], "ANDMASK": [np.zeros(25000, np.int16)]}
    single = fits.BinTableHDU(Table({"FLUX": flux * 2, "LOGLAM": np.log10(vacuum)}), name="B-123")
    coadd = fits.BinTableHDU(Table(cells), name="COADD")
    primary = fits.PrimaryHDU(header=_header(TELESCOP="LAMOST"))
    return Expected(_write(folder / "a.fits", primary, single, coadd), 800.0, 1, True, "vacuum", "barycentric")


def lamost_image(folder: Path) -> Expected:
    vacuum = 10 ** (3.703 + 1e-6 * np.arange(25000))
    flux, sigma = observe(vacuum_to_air(vacuum), 800.0)
    rows = np.stack([flux, sigma**-2, vacuum, np.zeros(25000), np.zeros(25000)])
    header = _header(COEFF0=3.703, COEFF1=1e-6, TELESCOP="LAMOST", VACUUM=True)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(rows, header)), 800.0, 1, True, "vacuum", "barycentric")


def sdss_table(folder: Path) -> Expected:
    loglam = 3.703 + 1e-6 * np.arange(25000)
    flux, sigma = observe(vacuum_to_air(10**loglam), 30.0)
    table = Table({"flux": flux, "loglam": loglam, "ivar": sigma**-2, "and_mask": np.zeros(25000, np.int32)})
    table["sky"] = flux * 0.1
    primary = fits.PrimaryHDU(header=_header(TELESCOP="SDSS 2.5-M"))
    path = _write(folder / "a.fits", primary, fits.BinTableHDU(table, name="COADD"))
    return Expected(path, 30.0, 1, True, "vacuum", "barycentric")


def specmatch(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave)
    flux[:50] = np.nan
    table = fits.BinTableHDU(Table({"s": flux, "w": wave, "serr": sigma}))
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(), table), sigma=True)


def ech_table(folder: Path) -> Expected:
    """One row per order, as PyReduce and KOA write them, with a column of order numbers."""
    wave = orders()
    flux, sigma = observe(wave, 80.0)
    table = Table({"ORDER": np.arange(60, 66), "WAVE": wave, "SPEC": flux, "SIG": sigma})
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(), fits.BinTableHDU(table)), 80.0, 6, True)


def hires(folder: Path) -> Expected:
    """Flux, unnamed relative error, unnamed wavelengths, all 2-D."""
    wave = orders()
    flux, sigma = observe(wave, 3e4)
    path = _write(folder / "a.fits", fits.PrimaryHDU(flux), fits.ImageHDU(sigma / flux), fits.ImageHDU(wave))
    return Expected(path, 3e4, 6, True)


def apf_raw(folder: Path) -> Expected:
    wave = orders()
    flux, sigma = observe(wave, 5e4)
    _write(folder / "wave.fits", fits.PrimaryHDU(wave))
    np.save(folder / "sigma.npy", sigma)
    hints = {"wavelength_file": folder / "wave.fits", "sigma_file": folder / "sigma.npy"}
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux)), 5e4, 6, True, hints=hints)


def text_wavelength_file(folder: Path) -> Expected:
    """Orders in FITS, their wavelengths as columns of a text file."""
    wave = orders()
    flux, _ = observe(wave, 5e4)
    np.savetxt(folder / "wave.txt", wave.T, fmt="%.6f", header="order 1 to 6")
    hints = {"wavelength_file": folder / "wave.txt"}
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(flux)), 5e4, 6, hints=hints)


def salt(folder: Path) -> Expected:
    hdus = []
    for n in range(6):
        wave = 5040 + 50.0 * n + 0.04425 * np.arange(1400 + 20 * n)
        header = _header(CRVAL1=wave[0], CDELT1=0.04425, CRPIX1=1.0, CTYPE1="WAVELENGTH", HEL_COR=-15.7, EXTNAME="SCI")
        flux, _ = observe(wave, 0.4, seed=n)
        hdus.append(fits.ImageHDU(flux, header) if n else fits.PrimaryHDU(flux, header))
    return Expected(_write(folder / "a.fits", *hdus), 0.4, 6)


def tres_hdf5(folder: Path) -> Expected:
    wave = orders()
    flux, sigma = observe(wave, 1e-13)
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["wls"], file["fls"], file["sigmas"] = wave, flux, sigma
        file.attrs["BCV"] = -19.99
    return Expected(folder / "a.hdf5", 1e-13, 6, True)


def _multispec(folder: Path, specs: list[str], data: np.ndarray, **cards) -> Path:
    header = _header(CTYPE1="MULTISPE", CTYPE2="MULTISPE", WAT0_001="system=multispec", **cards)
    header["WAT1_001"] = "wtype=multispec label=Wavelength units=angstroms"
    text = "wtype=multispec " + " ".join(f'spec{n + 1} = "{spec}"' for n, spec in enumerate(specs))
    for i in range(0, len(text), 68):
        header[f"WAT2_{i // 68 + 1:03d}"] = text[i : i + 68]
    return _write(folder / "a.fits", fits.PrimaryHDU(data, header))


def multispec_linear_cube(folder: Path) -> Expected:
    """FIES: three planes, flux, raw and sigma by their band identifiers."""
    size = 1600
    starts = 5040.0 + 50 * np.arange(6)
    wave = starts[:, None] + 0.035 * np.arange(size)
    flux, sigma = observe(wave, 0.4)
    specs = [f"{n + 1} {154 - n} 0 {start!r} 0.035 {size} 0. 35.81 47.81" for n, start in enumerate(starts.tolist())]
    bands = {"BANDID1": "spectrum - background none, weights variance, clean yes"}
    bands |= {"BANDID2": "raw - background none", "BANDID3": "sigma - background none", "INSTRUME": "FIES"}
    path = _multispec(folder, specs, np.stack([flux, flux * 1.1, sigma]), VHELIO=11.7, **bands)
    return Expected(path, 0.4, 6, True, frame="topocentric")


def multispec_chebyshev(folder: Path) -> Expected:
    size = 1800
    x = (np.arange(1, size + 1) - (1 + size) / 2) / ((size - 1) / 2)
    coefficients = [[5072.0 + 50 * n, 32.5, -0.6, 0.02] for n in range(6)]
    wave = np.stack([chebyshev.chebval(x, c) for c in coefficients])
    flux, _ = observe(wave, 700.0)
    tail = [f"1. 0. 1 4 1. {size}. {' '.join(map(repr, c))}" for c in coefficients]
    specs = [f"{n + 1} {90 - n} 2 {wave[n, 0]} 0.036 {size} 0. 1. 2. {tail[n]}" for n in range(6)]
    return Expected(_multispec(folder, specs, flux), 700.0, 6)


def multispec_legendre_shifted(folder: Path) -> Expected:
    """TLS: Legendre, here with a Doppler factor, lambda = W / (1 + z), and a short order padded with zeros."""
    size, z = 1800, 6e-5
    x = (np.arange(1, size + 1) - (1 + size) / 2) / ((size - 1) / 2)
    coefficients = [[5072.0 + 50 * n, 32.5, -0.6, 0.02] for n in range(6)]
    wave = np.stack([legendre.legval(x, c) for c in coefficients]) / (1 + z)
    flux, _ = observe(wave, 700.0)
    flux[5, 1700:] = 0.0
    specs = []
    for n, c in enumerate(coefficients):
        text = f"1. 0. 2 4 1. {size}. {' '.join(map(repr, c))}"
        specs.append(f"{n + 1} {90 - n} 2 {wave[n, 0]} 0.036 {1700 if n == 5 else size} {z} 1. 2. {text}")
    return Expected(_multispec(folder, specs, flux), 700.0, 6)


def multispec_log(folder: Path) -> Expected:
    size = 1800
    starts = np.log10(5040.0 + 50 * np.arange(6))
    wave = 10 ** (starts[:, None] + 3e-6 * np.arange(size))
    flux, _ = observe(wave, 9.0)
    specs = [f"{n + 1} {n + 1} 1 {starts[n]!r} 3e-6 {size} 0. 1. 2." for n in range(6)]
    specs = [spec.replace("np.float64(", "").replace(")", "") for spec in specs]
    return Expected(_multispec(folder, specs, flux), 9.0, 6)


def carpy(folder: Path) -> Expected:
    """MIKE: seven planes, the first the sky."""
    size = 1600
    starts = 5040.0 + 50 * np.arange(6)
    wave = starts[:, None] + 0.035 * np.arange(size)
    flux, sigma = observe(wave, 400.0)
    specs = [f"{n + 1} {71 - n} 0 {start!r} 0.035 {size} 0. 1. 2." for n, start in enumerate(starts.tolist())]
    names = ["sky", "object", "noise", "signal-to-noise", "lamp", "flat"]
    bands = {f"BANDID{i + 1}": f"{name} spectrum" for i, name in enumerate(names)}
    bands["BANDID7"] = "object spectrum divided by flat"
    planes = [flux * 0.1, flux, sigma, flux / sigma, flux * 3, flux * 4, flux / 4]
    return Expected(_multispec(folder, specs, np.stack(planes), **bands), 400.0, 6, True)


def espadons_fits(folder: Path) -> Expected:
    """CFHT i.fits: 12 rows, orders one after another, nm."""
    wave = orders().ravel()
    flux, sigma = observe(wave)
    group = np.stack([wave / 10, flux, sigma])
    data = np.concatenate([group, group * [[1], [900], [900]], group, group * [[1], [900], [900]]])
    path = _write(folder / "a.fits", fits.PrimaryHDU(data, _header(INSTRUME="ESPaDOnS")))
    return Expected(path, 1.0, 6, True, frame="barycentric")


def espadons_polarised(folder: Path) -> Expected:
    """CFHT p.fits: 24 rows in groups of six, the error the last of each."""
    wave = orders().ravel()
    flux, sigma = observe(wave)
    null = 1e-4 * np.random.default_rng(2).standard_normal((3, wave.size))
    group = np.stack([wave / 10, flux, *null, sigma])
    path = _write(folder / "a.fits", fits.PrimaryHDU(np.tile(group, (4, 1)), _header(INSTRUME="ESPaDOnS")))
    return Expected(path, 1.0, 6, True, frame="barycentric")


def polarbase_text(folder: Path) -> Expected:
    """Libre-ESpRIT .s with polarisation: six columns, sigma the last, two header lines, the second of numbers."""
    wave = orders().ravel()
    flux, sigma = observe(wave)
    zero = np.zeros(wave.size)
    lines = ["***Reduced spectrum of 'HD 1 '", f" {wave.size} 5"]
    columns = zip(wave / 10, flux, zero, zero, zero, sigma, strict=True)
    lines += [" ".join(f"{value:.8e}" for value in row) for row in columns]
    path = folder / "a.s"
    path.write_text("\n".join(lines) + "\n")
    return Expected(path, 1.0, 6, True, frame="barycentric")


def ceres(folder: Path) -> Expected:
    air = orders()
    flux, sigma = observe(air, 2000.0)
    one = np.ones(air.shape)
    planes = [air_to_vacuum(air), flux * 3, one, flux, one, flux / 2000, one, one, flux / sigma, flux, one]
    path = _write(folder / "a.fits", fits.PrimaryHDU(np.stack(planes)))
    return Expected(path, 2000.0, 6, True, "vacuum", "barycentric")


def chiron(folder: Path) -> Expected:
    """Orders, pixels, and (wavelength, flux) along the fastest axis."""
    wave = orders()
    flux, _ = observe(wave, 2000.0)
    return Expected(_write(folder / "a.fits", fits.PrimaryHDU(np.stack([wave, flux], axis=-1))), 2000.0, 6)


def _text(folder: Path, lines: list[str], columns: tuple[np.ndarray, ...], joint: str = " ") -> Path:
    body = [joint.join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    path = folder / "a.txt"
    path.write_text("\n".join([*lines, *body]) + "\n")
    return path


def ispec_text(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave)
    return Expected(_text(folder, ["waveobs\tflux\terr"], (wave / 10, flux, sigma), "\t"), sigma=True)


def bare_text(folder: Path) -> Expected:
    wave = linear()
    flux, _ = observe(wave, 40.0)
    return Expected(_text(folder, [], (wave, flux)), 40.0)


def commented_text(folder: Path) -> Expected:
    """Comments, a third column without a name that can only be sigma, vacuum told in words."""
    air = linear()
    flux, sigma = observe(air, 4000.0)
    lines = ["# A star; wavelengths in vacuum", "# 3 columns"]
    return Expected(_text(folder, lines, (air_to_vacuum(air), flux, sigma)), 4000.0, sigma=True, medium="vacuum")


def csv_micron(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave, 2.0)
    lines = ["wavelength (micron),flux,variance"]
    return Expected(_text(folder, lines, (wave / 1e4, flux, sigma**2), ","), 2.0, sigma=True)


def ecsv(folder: Path) -> Expected:
    wave = linear()
    flux, sigma = observe(wave)
    table = Table({"wavelength": wave / 10, "flux": flux, "uncertainty": sigma}, units={"wavelength": "nm"})
    table.meta["medium"] = "air"
    table.write(folder / "a.ecsv", format="ascii.ecsv")
    return Expected(folder / "a.ecsv", sigma=True)


FILES: tuple[Callable[[Path], Expected], ...] = (
    linear_fits,
    no_unit_no_crpix,
    gzipped,
    metres,
    decreasing,
    vacuum_log10,
    fits_log_axis,
    hermes_ln,
    cut_with_imcopy,
    uves_popler,
    two_rows,
    wavelength_extension,
    sdss_coeff,
    ispec_fits,
    ivar_extension,
    unnamed_variance,
    apf_ndrs,
    galah,
    harps_s1d,
    harpsn_s1d,
    sophie_s1d,
    harps_e2ds,
    makee,
    eso_phase3,
    espresso_s1d,
    espresso_s2d,
    carmenes,
    pepsi,
    lamost_table,
    lamost_image,
    sdss_table,
    specmatch,
    ech_table,
    hires,
    apf_raw,
    text_wavelength_file,
    salt,
    tres_hdf5,
    multispec_linear_cube,
    multispec_chebyshev,
    multispec_legendre_shifted,
    multispec_log,
    carpy,
    espadons_fits,
    espadons_polarised,
    polarbase_text,
    ceres,
    chiron,
    ispec_text,
    bare_text,
    commented_text,
    csv_micron,
    ecsv,
)
"""One function per family: it writes a file into a folder and says what reading it has to give."""
