"""Spectra by PySME: abundances, sampling, microturbulence, the shared library."""

import h5py
import numpy as np
import pytest

from maury.errors import DomainError, FormatError
from maury.labels import INTRINSIC
from maury.synthesis import PhysicsConfig, engine, read_atmospheres, read_lines, synthesize
from synthesis_inputs import atlas, atmosphere_folder, vald_short

pytest.importorskip("pysme", reason="needs the extra 'synthesis'")

WAVELENGTH = np.arange(5060.0, 5082.0, 0.01)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, workers):
    folder = tmp_path_factory.mktemp("inputs")
    return read_lines(vald_short(folder / "a.lin"), workers), read_atmospheres(atmosphere_folder(folder / "models"))


def star(teff=5500.0, logg=4.5, mh=0.0, vmic=1.0, **ratios):
    return [teff, logg, mh, vmic, *(ratios.get(name, 0.0) for name in INTRINSIC[4:])]


def test_lines_are_where_the_list_says_and_follow_the_labels(inputs, workers):
    labels = [star(), star(mh=-1.0), star(ti=0.3), star(vmic=2.0)]
    spectra = synthesize(*inputs, labels, WAVELENGTH, workers=workers)
    assert not spectra.failures
    plain, poor, titanium, turbulent = (1 - spectra.flux).clip(0)

    def strength(depth, centre):
        return depth[np.abs(WAVELENGTH - centre) < 0.3].sum() * 0.01

    for centre in (5064.653, 5074.748, 5079.74):
        near = np.abs(WAVELENGTH - centre) < 0.3
        assert abs(WAVELENGTH[near][plain[near].argmax()] - centre) < 0.011
        assert strength(plain, centre) > 1.2 * strength(poor, centre)
        assert strength(turbulent, centre) > 1.02 * strength(plain, centre)
    assert strength(titanium, 5064.653) > 1.05 * strength(plain, 5064.653)
    assert strength(titanium, 5074.748) == pytest.approx(strength(plain, 5074.748), rel=5e-3)


def test_other_line_strengths_on_the_same_workers(inputs, workers):
    lines, atmospheres = inputs
    before = synthesize(lines, atmospheres, [star()], WAVELENGTH, workers=workers).flux[0]
    stronger = np.where(lines.species == "Ti 1", lines.log_gf + 0.3, lines.log_gf)
    after = synthesize(lines.with_log_gf(stronger), atmospheres, [star()], WAVELENGTH, workers=workers).flux[0]
    richer = synthesize(lines, atmospheres, [star(ti=0.3)], WAVELENGTH, workers=workers).flux[0]
    near = np.abs(WAVELENGTH - 5064.653) < 0.5
    assert (before - after)[near].max() > 0.01
    np.testing.assert_allclose(after[near], richer[near], atol=3e-4)  # one third of a dex by either way


@pytest.mark.parametrize("mh", [-1.0, 0.0, 0.3])
def test_abundances_are_those_of_the_labels(workers, mh):
    ratios = {"c": 0.2, "mg": 0.1, "ca": 0.3, "ti": -0.1, "cr": 0.05, "ni": -0.05}
    found = workers.run(absolute, np.array(star(mh=mh, **ratios)))
    sun = {"H": 12.0, "C": 8.43, "N": 7.83, "O": 8.69, "Ne": 7.93, "Mg": 7.60, "Si": 7.51, "S": 7.12}
    sun |= {"Ca": 6.34, "Ti": 4.95, "Cr": 5.64, "Fe": 7.50, "Ni": 6.22}  # Asplund et al. 2009, table 1
    extra = {"C": 0.2, "O": 0.15, "Ne": 0.1, "Mg": 0.1, "Si": 0.1, "S": 0.1}
    extra |= {"Ca": 0.3, "Ti": -0.1, "Cr": 0.05, "Ni": -0.05}
    for element, solar in sun.items():
        expected = solar if element == "H" else solar + mh + extra.get(element, 0.0)
        assert found[element] == pytest.approx(expected, abs=0.006), element


def absolute(labels):
    """In a worker: abundances as PySME hands them to its library."""
    abundances = engine.absolute_abundances(labels)(type="H=12", raw=False)
    return {element: float(value) for element, value in abundances.items()}


def test_three_angles_stand_for_seven():
    rings = np.sqrt((np.arange(7) + 0.5) / 7)
    mu, weights = engine.disc_quadrature(3)
    assert weights.sum() == pytest.approx(1)
    for power in range(6):
        assert weights @ mu**power == pytest.approx((rings**power).mean(), abs=1e-12)
    assert abs(weights @ mu**6 - (rings**6).mean()) > 1e-5
    limb = 1 - 0.6 * (1 - mu) - 0.2 * (1 - np.sqrt(mu))
    assert weights @ limb == pytest.approx((1 - 0.6 * (1 - rings) - 0.2 * (1 - np.sqrt(rings))).mean(), abs=1e-4)


def test_uniform_sampling_converges_and_agrees_with_the_adaptive(inputs, workers):
    def made(**settings):
        config = PhysicsConfig(**settings)
        return synthesize(*inputs, [star(5200.0, 4.2, -0.5)], WAVELENGTH, config, workers).flux[0]

    exact = made(sampling="uniform", doppler_step=0.1)
    usual, coarse, adaptive = made(sampling="uniform"), made(sampling="uniform", doppler_step=0.8), made()
    assert (usual - exact).std() < 3e-4 < (coarse - exact).std()
    assert (adaptive - exact).std() < 2e-3


def test_layers_are_left_out_of_fine_atmospheres_only(tmp_path):
    fine = np.column_stack([np.logspace(-4, 1, 72), np.linspace(3000, 9000, 72), np.ones((72, 2))])
    (tmp_path / "a.krz").write_text(atlas(5000.0, 4.0, layers=fine))
    whole = read_atmospheres(tmp_path)(5000.0, 4.0, 0.0)
    part = engine.thinned(whole)
    assert len(part.temperature) == 53
    assert set(part.column_mass) <= set(whole.column_mass)
    np.testing.assert_array_equal(part.column_mass[[0, 1, 2, 3, 4, -1]], whole.column_mass[[0, 1, 2, 3, 4, 67]])
    assert engine.thinned(part) is part


def test_order_does_not_matter(inputs, workers):
    labels = [star(), star(5600.0), star(5500.0, 4.6)]
    forward = synthesize(*inputs, labels, WAVELENGTH, workers=workers).flux
    backward = synthesize(*inputs, labels[::-1], WAVELENGTH, workers=workers).flux
    np.testing.assert_array_equal(forward, backward[::-1])


def test_what_cannot_be_made_is_refused_first(inputs, workers):
    with pytest.raises(DomainError, match=r"row 2 \(teff 7000"):
        synthesize(*inputs, [star(), star(7000.0)], WAVELENGTH, workers=workers)
    with pytest.raises(DomainError, match="do not cover the window"):
        synthesize(*inputs, [star()], WAVELENGTH + 1000, workers=workers)
    with pytest.raises(DomainError, match="row 1: vmic = 0 is not allowed"):
        synthesize(*inputs, [star(vmic=0.0)], WAVELENGTH, workers=workers)
    with pytest.raises(FormatError, match=r"absent\.grd: no such file of departure coefficients \(nlte\.Ca\)"):
        synthesize(*inputs, [star()], WAVELENGTH, PhysicsConfig(nlte={"Ca": "absent.grd"}), workers)


def test_departure_coefficients_need_the_long_format(inputs, workers, tmp_path):
    (tmp_path / "ca.grd").write_bytes(b"x")
    config = PhysicsConfig(nlte={"Ca": str(tmp_path / "ca.grd")})
    with pytest.raises(FormatError, match="need a line list in VALD's long format"):
        synthesize(*inputs, [star()], WAVELENGTH, config, workers)


@pytest.mark.shared
def test_the_shared_library_is_reproduced(shared, workers):
    lines = read_lines(shared / "data/linelists/mgb_5035_5365_air.lin", workers)
    atmospheres = read_atmospheres(shared / "data/atmospheres/ck04_odfnew.tar.xz", extrapolate_logg=True)
    with h5py.File(shared / "data/library/spc_library.h5") as file:
        table = np.array(file["labels"][:].tolist())
        rows = [
            int(np.argmin(np.abs(table[:, 0] - t) / 500 + np.abs(table[:, 2] - m)))
            for t, m in ((4200, 0.2), (6200, -1.0))
        ]
        wavelength = file["wavelength"][3000:5000]
        expected = [file["flux"][row, 3000:5000] * file["flux"].attrs["scale"] for row in rows]
    spectra = synthesize(lines, atmospheres, table[rows], wavelength, workers=workers)
    assert not spectra.failures
    fast = synthesize(lines, atmospheres, table[rows], wavelength, PhysicsConfig(sampling="uniform"), workers)
    for made, quick, flux in zip(spectra.flux, fast.flux, expected, strict=True):
        assert np.sqrt(np.mean((made - flux) ** 2)) < 2e-4
        assert np.sqrt(np.mean((quick - flux) ** 2)) < 2e-3  # interpolation between PySME's wavelengths, mostly
