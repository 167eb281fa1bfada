"""Cool dwarfs: corrections by standard dwarfs, when they are used and when not."""

from functools import reduce

import numpy as np
import pytest
import torch

import nights
from maury.errors import FormatError
from maury.inference import predict_pixels
from maury.inference.cool_dwarfs import PACKAGED, CoolDwarfs, load_cool_dwarfs, log_jacobian
from maury.inference.differential import Reference
from maury.inference.refinement import physics_of
from maury.pixelspectra import PixelSpectra
from maury.readers import write
from maury.standards import compare_dwarfs, dwarf_table, fit_star, measure_cool_dwarfs, read_standards

WAVELENGTH = 5100 * np.exp(np.arange(400) * 2.0 / 299_792.458)
DWARF = {"teff": 3800.0, "logg": 4.7, "mh": 0.0, "vmic": 1.0, "vmac": 1.5, "vsini": 1.5}


def two_stars():
    rng = np.random.default_rng(1)
    ratios = {"cool": (3700.0, np.exp(rng.normal(0, 0.05, 400))), "warm": (4100.0, np.exp(rng.normal(0, 0.05, 400)))}
    made = {n: (t, [Reference(n, 50_000.0, r, 0.01 * r)]) for n, (t, r) in reversed(ratios.items())}
    return CoolDwarfs.of(made, WAVELENGTH)


def test_corrections_are_linear_between_the_stars_and_constant_beyond(tmp_path):
    dwarfs = two_stars()
    assert dwarfs.names == ("cool", "warm")
    for teff, share in ((3500.0, 1.0), (3800.0, 0.75), (4100.0, 0.0), (4400.0, 0.0)):
        found = dwarfs.at(teff, 50_000.0, 0.0)
        expected = share * dwarfs.log_ratio[0] + (1 - share) * dwarfs.log_ratio[1]
        np.testing.assert_allclose(np.log(found.ratio), expected, atol=1e-6)
        np.testing.assert_allclose(found.sigma / found.ratio, 0.01 * np.hypot(share, 1 - share), rtol=0.02)
    np.testing.assert_allclose(
        np.log(dwarfs.without("cool").at(3500.0, 50_000.0, 0.0).ratio), dwarfs.log_ratio[1], atol=1e-6
    )
    dwarfs.save(tmp_path / "cool-dwarfs.safetensors")
    again = load_cool_dwarfs(tmp_path / "cool-dwarfs.safetensors")
    np.testing.assert_allclose(again.log_ratio, dwarfs.log_ratio, atol=1e-4)
    assert again.suit(WAVELENGTH)
    assert not again.suit(WAVELENGTH + 1)
    assert not again.suit(WAVELENGTH[:-1])
    (tmp_path / "other.safetensors").write_bytes(b"not a model")
    with pytest.raises(FormatError, match=r"other\.safetensors"):
        load_cool_dwarfs(tmp_path / "other.safetensors")


def test_corrections_are_broadened_to_the_star():
    dwarfs = two_stars()
    sharp = np.log(dwarfs.at(3700.0, 50_000.0, 0.0).ratio)
    for resolution, vsini in ((25_000.0, 0.0), (50_000.0, 15.0)):
        smooth = np.log(dwarfs.at(3700.0, resolution, vsini).ratio)
        assert smooth.std() < 0.7 * sharp.std()
        assert smooth.mean() == pytest.approx(sharp.mean(), abs=1e-3)


@pytest.fixture(scope="module")
def star():
    """Make a spectrum of labels on the network's pixels, S/N 150."""
    simulator = physics_of("default", "packaged", True).coordinates.simulator

    def made(labels, ratio=1.0):
        row = torch.tensor([[labels.get(name, 0.0) for name in simulator.labels]]).float()
        clean = simulator.spectra(row, torch.tensor([50_000.0]))[0].double().numpy()
        noise = np.random.default_rng(3).normal(0, 1 / 150, clean.shape)
        return PixelSpectra(flux=np.float32(clean / ratio + noise), sigma=1 / 150, resolution=50_000.0)

    return made


def test_a_dwarf_whose_lines_are_wrong_as_in_the_standards_is_corrected(star):
    dwarfs = load_cool_dwarfs(PACKAGED)
    wrong = star(DWARF, dwarfs.at(3800.0, 50_000.0, 1.5).ratio)
    result = predict_pixels(wrong, samples=500)
    plain = predict_pixels(wrong, samples=500, reference=reduce(CoolDwarfs.without, dwarfs.names, dwarfs))
    assert "cool_dwarf_standards" in result.flags
    assert "cool_dwarf_standards" not in plain.flags
    assert abs(result.values["teff"] - 3800) < 60
    assert abs(result.values["mh"]) < 0.3 < abs(plain.values["mh"])
    gain = result.refinement.log_evidence + log_jacobian(dwarfs.at(3800.0, 50_000.0, 1.5), wrong.good)
    assert gain > plain.refinement.log_evidence + 1000


@pytest.mark.parametrize("labels", [DWARF, DWARF | {"logg": 1.2, "teff": 3950.0}, DWARF | {"teff": 4900.0}])
def test_a_star_whose_lines_are_right_is_not_corrected(star, labels):
    assert "cool_dwarf_standards" not in predict_pixels(star(labels), samples=500).flags


def test_a_giant_is_not_corrected(star):
    ratio = load_cool_dwarfs(PACKAGED).at(3950.0, 50_000.0, 1.5).ratio
    giant = star(DWARF | {"logg": 1.2, "teff": 3950.0}, ratio)
    assert "cool_dwarf_standards" not in predict_pixels(giant, samples=500).flags


def test_standard_dwarfs_correct_each_other(tmp_path):
    """Two dwarfs have the same error of 10 % in their lines; labels that are not verified give no correction."""
    rows = ["file,star,resolution,teff,logg,mh,labels_verified"]
    for name, teff, verified in (("a", 3750.0, True), ("b", 3850.0, True), ("c", 3800.0, False)):
        labels = nights.SUN | DWARF | {"teff": teff}
        seen = nights.observe(labels, nights.Instrument(65_000.0, 0.04), velocity_kms=0.0, snr=200, seed=4).single()
        wave = np.asarray(seen.wavelength_aa)
        path = tmp_path / f"{name}.fits"
        write(seen.with_(flux=seen.flux * (1 + 0.1 * np.sin(9 * wave) * (seen.flux < 0.9 * seen.flux.max()))), path)
        rows.append(f"{name}.fits,{name},65000,{teff},4.7,0.0,{verified}")
    (tmp_path / "standards.csv").write_text("\n".join(rows) + "\n")
    physics = physics_of("default", "packaged", False)
    stars = read_standards(tmp_path / "standards.csv")
    fits = [fit_star(star, physics, "default", "packaged") for star in stars]
    dwarfs = measure_cool_dwarfs(fits, physics)
    assert dwarfs.names == ("a", "b")
    assert np.corrcoef(dwarfs.log_ratio)[0, 1] > 0.8
    done = []
    compared = compare_dwarfs(fits, dwarfs, "default", "packaged", done.append)
    assert [row["star"] for row in compared] == ["a", "b"]
    assert all(row["used"] for row in compared)
    for row in compared:
        known, plain, corrected = row["mh"]
        assert abs(corrected - known) < abs(plain - known)
    assert len(done) == 3
    assert "| a.fits | a | 3750, " in dwarf_table(compared)
    assert measure_cool_dwarfs(fits[2:], physics) is None
