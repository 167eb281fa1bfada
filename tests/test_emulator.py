"""The emulator: modes hold the spectra, broadening is right, checkpoints keep it, tables and stars come out."""

import json

import h5py
import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.signal import fftconvolve

from fakes import GRID, line_profiles, tiny_emulator
from libraries import WAVELENGTH, line_library
from maury.designs import sobol_labels
from maury.emulator import ErrorMap, grid_for, load, measure_errors, rms_per_star, to_modes
from maury.emulator.design import choose_labels, disagreement, write_label_table
from maury.emulator.fitting import recover_labels
from maury.emulator.label_tables import check_labels, columns, read_labels, simulate_star, write_spectra
from maury.errors import DomainError, FormatError, SchemaError
from maury.labels import INTRINSIC, lowest_logg
from maury.wavelengths import C_KMS

SUN = [5772.0, 4.44, 0.0, 1.0, 0, 0, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def emulator():
    return tiny_emulator()


def test_modes_hold_lines_as_narrow_as_the_library_has_them():
    wavelength = WAVELENGTH
    velocity = np.log(wavelength / 5200) * C_KMS
    flux = (1 - 0.7 * np.exp(-0.5 * (velocity / 1.2) ** 2))[None].astype(np.float32)
    grid = grid_for(wavelength)
    back = np.fft.irfft(to_modes(flux, wavelength, grid), n=grid.size)[0]
    expected = 1 - 0.7 * np.exp(-0.5 * (np.log(grid.wavelength_aa / 5200) * C_KMS / 1.2) ** 2)
    inside = (grid.wavelength_aa > 5046) & (grid.wavelength_aa < 5354)
    assert np.abs(back - expected)[inside].max() < 2e-4
    assert grid.wavelength_aa[-1] > wavelength[-1] > grid.wavelength_aa[-1] - 5


def test_a_grid_that_starts_before_the_spectra_is_refused():
    grid = grid_for(WAVELENGTH - 1)
    with pytest.raises(DomainError, match="before the spectra"):
        to_modes(np.ones((1, WAVELENGTH.size), np.float32), WAVELENGTH, grid)


def test_modes_are_mean_plus_coefficients_times_basis(emulator):
    labels = torch.from_numpy(sobol_labels(5, 2)).float()
    coefficients = emulator.coefficients(labels).double().numpy()
    profiles = line_profiles(np.arange(GRID.size, dtype=float))
    expected = profiles[0] + coefficients @ profiles[1:]
    flux = torch.fft.irfft(emulator.modes(labels), n=GRID.size)
    assert np.abs(flux.numpy() - expected).max() < 1e-5
    assert torch.equal(emulator.modes(labels, 100), emulator.modes(labels)[:, :100])


@pytest.mark.parametrize(
    ("vsini", "resolution"), [(0.0, 100_000.0), (5.0, 42_000.0), (60.0, 42_000.0), (200.0, 10_000.0)]
)
def test_broadened_spectra_agree_with_direct_broadening(emulator, vsini, resolution):
    """Convolve the closed-form spectrum on a fine velocity grid with Gray's profile and a Gaussian."""
    labels = torch.tensor([SUN])
    step = 0.1
    velocity = np.arange(4000, 9000, step)
    profiles = line_profiles(velocity)
    direct = profiles[0] + emulator.coefficients(labels).double().numpy()[0] @ profiles[1:]
    sigma = C_KMS / resolution / np.sqrt(8 * np.log(2))
    cells = np.arange(-np.ceil(5 * sigma / step), np.ceil(5 * sigma / step) + 1)
    direct = _convolve(direct, np.exp(-0.5 * (cells * step / sigma) ** 2))
    if vsini:
        cells = np.arange(-np.ceil(vsini / step), np.ceil(vsini / step) + 1)
        x = (cells[:, None] + (np.arange(101) - 50) / 101) * step / vsini  # the profile is averaged over each cell
        cosine = np.sqrt(np.clip(1 - x**2, 0, None))
        direct = _convolve(direct, (2 * 0.4 * cosine + np.pi * 0.6 / 2 * cosine**2).mean(1))
    middle = slice(8000, -8000, 7)
    wavelength = GRID.start_aa * np.exp(velocity[middle] / C_KMS)
    sampler = emulator.sampler(wavelength, resolution)
    fast = emulator.flux(labels, torch.tensor([vsini]), torch.tensor([resolution]), sampler)[0].numpy()
    assert np.abs(direct[middle] - 1).max() > 0.02
    assert np.abs(fast - direct[middle]).max() < 1e-5


def _convolve(flux, kernel):
    return fftconvolve(flux, kernel / kernel.sum(), mode="same")


def test_flux_is_differentiable(emulator):
    labels = torch.tensor([SUN], requires_grad=True)
    vsini = torch.tensor([8.0], requires_grad=True)
    sampler = emulator.sampler(np.linspace(5160, 5170, 100), 42_000)
    emulator.flux(labels, vsini, torch.tensor([42_000.0]), sampler).square().sum().backward()
    assert labels.grad[0, :4].abs().min() > 0
    assert vsini.grad.abs() > 0


def test_resolution_above_the_limit_is_refused(emulator):
    sampler = emulator.sampler([5100.0, 5101.0], 115_000)
    with pytest.raises(DomainError, match="above the emulator's limit of 115000"):
        emulator.flux(torch.tensor([SUN]), torch.zeros(1), torch.tensor([200_000.0]), sampler)


def test_checkpoint_keeps_flux_and_error_map(tmp_path, emulator):
    labels = torch.from_numpy(sobol_labels(8, 3)).float()
    errors = measure_errors(emulator, labels, emulator.modes(labels) + 5.0)
    emulator.errors = errors
    emulator.save(tmp_path / "e.safetensors")
    emulator.errors = None
    back = load(tmp_path / "e.safetensors")
    difference = torch.fft.irfft(back.modes(labels) - emulator.modes(labels), n=GRID.size)
    assert 0 < difference.abs().max() < 2e-4  # the basis is kept in float16
    assert isinstance(back.errors, ErrorMap)
    assert torch.allclose(back.errors.rms, errors.rms, rtol=2e-3, atol=1e-3, equal_nan=True)
    assert back.header["note"] == "Gaussian lines for tests"


def test_error_map_and_rms_recover_a_known_error(emulator):
    labels = torch.from_numpy(sobol_labels(12, 4)).float()
    modes = emulator.modes(labels)
    wrong = modes.clone()
    wrong[:, 0] += 0.01 * GRID.size  # a constant offset of 0.01
    assert rms_per_star(emulator, labels, wrong) == pytest.approx(0.01, rel=1e-3)
    assert rms_per_star(emulator, labels, modes) == pytest.approx(0, abs=1e-6)
    errors = measure_errors(emulator, labels, wrong)
    assert torch.allclose(errors.at(labels), torch.tensor(0.01), rtol=1e-3)
    assert int(errors.stars.sum()) == 12


def _rewrite(path, change):
    with safe_open(path, "pt") as file:
        tensors, metadata = {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata())  # noqa: SIM118
    header = json.loads(metadata["maury"])
    change(header)
    save_file(tensors, path, {"maury": json.dumps(header)})


def test_checkpoints_of_another_schema_or_kind_are_refused(tmp_path, emulator):
    path = tmp_path / "e.safetensors"
    emulator.save(path)
    _rewrite(path, lambda header: header.update(schema=99))
    with pytest.raises(
        SchemaError, match=r"e\.safetensors: checkpoint schema 99; this version of maury reads schema 1"
    ):
        load(path)
    _rewrite(path, lambda header: header.update(schema=1, kind="network"))
    with pytest.raises(SchemaError, match="holds a 'network', not a 'emulator'"):
        load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        load(path)


def test_sobol_labels_stay_in_the_domain():
    labels = sobol_labels(500, 7)
    assert (labels[:, 1] >= lowest_logg(labels[:, 0]) - 1e-9).all()
    nodes = sobol_labels(100, 7, (4500, 5000), abundances=False)
    assert nodes[:, 0].min() >= 4500
    assert nodes[:, 0].max() <= 5000
    assert (nodes[:, 3] == 2).all()
    assert not nodes[:, 4:].any()
    emulator = tiny_emulator()
    check_labels(np.column_stack([labels, np.zeros(500)]), emulator, "design")


def test_labels_are_chosen_where_members_disagree(emulator, tmp_path):
    pool = disagreement(emulator, sobol_labels(2000, 1))
    labels, spread = choose_labels(emulator, 200, 2000, (3500, 9750), 1)
    assert len(np.unique(labels, axis=0)) == 200
    assert np.median(spread) > np.median(pool)
    write_label_table(labels, tmp_path / "l.csv")
    assert (tmp_path / "l.csv").read_text().splitlines()[0] == ",".join(INTRINSIC)


def _write_csv(path, rows):
    path.write_text("\n".join([",".join(columns(tiny_emulator())), *[",".join(map(str, row)) for row in rows]]) + "\n")


def test_spectra_for_a_table_of_labels(tmp_path, emulator):
    _write_csv(tmp_path / "l.csv", [[*SUN, 0], [*SUN, 50]])
    table = read_labels(tmp_path / "l.csv", emulator)
    write_spectra(emulator, table, 42_000, 29788, tmp_path / "fine.h5")
    write_spectra(emulator, table, 42_000, 7447, tmp_path / "coarse.h5")
    with h5py.File(tmp_path / "fine.h5") as fine, h5py.File(tmp_path / "coarse.h5") as coarse:
        wavelength, flux = fine["wavelength"][:], fine["flux"][:]
        assert wavelength[[0, -1]] == pytest.approx([5050, 5350])
        assert np.allclose(coarse["flux"][:], flux.reshape(2, 7447, 4).mean(2), atol=1e-5)
        assert np.allclose(coarse["wavelength"][:], wavelength.reshape(7447, 4).mean(1))
    assert flux[1].min() > flux[0].min() + 0.1  # rotation washes lines out
    assert flux.mean(1)[0] == pytest.approx(flux.mean(1)[1], abs=2e-3)  # and keeps their strength


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([15772, *SUN[1:], 0], "row 1: teff = 15772 K is outside the allowed range 3500 to 9750"),
        ([*SUN, 300], "row 1: vsini = 300 km/s is outside the allowed range 0 to 200"),
        (
            [9000, 0.2, *SUN[2:], 0],
            "row 1: logg = 0.2 is below 1.50, the lowest of the model atmospheres at teff = 9000",
        ),
    ],
)
def test_labels_outside_the_domain_are_named(tmp_path, emulator, row, message):
    _write_csv(tmp_path / "l.csv", [row])
    with pytest.raises(DomainError, match=f"l.csv: {message}"):
        read_labels(tmp_path / "l.csv", emulator)


def test_resolution_and_pixels_are_checked_and_nothing_is_left(tmp_path, emulator):
    table = np.array([[*SUN, 0.0]])
    with pytest.raises(DomainError, match="resolution = 300000 is outside the allowed range 5000 to 115000"):
        write_spectra(emulator, table, 300_000, 29788, tmp_path / "a.h5")
    with pytest.raises(DomainError, match="pixels must divide 29788"):
        write_spectra(emulator, table, 42_000, 1000, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_simulated_star_has_its_noise_and_its_truth(tmp_path, emulator):
    for seed in (1, 2):
        simulate_star(emulator, [*SUN, 2.0], 44_000, 40.0, seed, tmp_path / f"{seed}.ecsv")
    one, two = (Table.read(tmp_path / f"{seed}.ecsv") for seed in (1, 2))
    assert np.std(one["flux"] - two["flux"]) == pytest.approx(np.sqrt(2) / 40, rel=0.03)
    assert one.meta["truth"]["teff"] == 5772
    assert one["wavelength"].unit == "Angstrom"


def test_fits_bring_labels_back():
    """On spectra of the emulator itself the fit is exact; three components can pin down a few labels only."""
    emulator = tiny_emulator()
    truth = torch.tensor([SUN])
    back = recover_labels(emulator, emulator.modes(truth), truth, 42_000.0)
    recovered, start = (
        emulator.coefficients(x) for x in (back, truth + torch.tensor([150.0, 0.2, 0.1, 0.2] + [0.05] * 6))
    )
    wanted = emulator.coefficients(truth)
    assert (recovered - wanted).abs().max() < 0.02 * (start - wanted).abs().max()


def test_library_and_grid_agree_on_the_window():
    library = line_library(2)
    grid = grid_for(library.wavelength_aa)
    assert grid.size == 18_000
    assert grid.step_kms == 1.0
