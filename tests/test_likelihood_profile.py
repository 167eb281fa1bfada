import numpy as np
import torch

from maury import checkpoints
from maury.emulator import load_cached
from maury.inference.refinement import physics_of
from maury.likelihood import ErrorModel, usable
from maury.likelihood.profile import KIND, WRONG_LINES_AA, at_metallicity, error_profile
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator


def test_packaged_factors_are_about_one_and_differ_from_line_to_line():
    wavelength = Simulator(load_cached()).pixels.wavelength_aa
    factor = error_profile(wavelength)
    assert factor.shape == wavelength.shape
    wrong = sum((wavelength >= first) & (wavelength <= last) for first, last in WRONG_LINES_AA).astype(bool)
    assert 0.98 < float(factor[~wrong].square().mean().sqrt()) < 1.02
    assert torch.allclose(factor[wrong], torch.tensor(12.0, dtype=torch.float64).sqrt())
    assert 60 < wrong.sum() < 200
    assert factor.min() > 0.3
    assert factor.max() < 3.6
    assert factor.std() > 0.2
    assert torch.equal(error_profile(np.array([4000.0, 6000.0])), torch.ones(2, dtype=torch.float64))


def test_wrong_lines_are_those_of_the_packaged_list(tmp_path):
    """Factors that were measured with another line list stay as they are."""
    own = tmp_path / "physics-errors.safetensors"
    wavelength, factor = torch.linspace(5330.0, 5345.0, 200), torch.full((200,), 0.8)
    checkpoints.save(own, KIND, {"wavelength": wavelength, "factor": factor}, {"maury": "1"})
    at = np.array([5339.19, 5341.1])
    assert torch.allclose(error_profile(at, own), torch.full((2,), 0.8, dtype=torch.float64))
    assert bool((error_profile(at) > 3).all())


def test_factors_fade_for_metal_poor_stars():
    factor = torch.tensor([0.5, 1.0, 2.0])
    assert torch.equal(at_metallicity(factor, 0.0), factor)
    assert torch.allclose(at_metallicity(factor, -2.0), factor.sqrt())
    assert torch.equal(at_metallicity(factor, -2.6), torch.ones(3))


def test_a_line_known_as_wrong_counts_less():
    simulator = Simulator(load_cached())
    labels = simulator.draw_labels(400, torch.Generator().manual_seed(1))
    labels = labels[(labels[:, simulator.labels.index("mh")] > -0.5)][0].double()
    flux = simulator.spectra(labels[None], torch.tensor([45_000.0]))[0].double()
    star = usable(PixelSpectra(flux=flux, sigma=1e-3, resolution=45_000.0))
    factor = torch.ones_like(flux)
    factor[2000:2100] = 3.0
    plain, known = (ErrorModel(simulator, profile=p).whiten(star, labels, fit=False).weight for p in (None, factor))
    assert torch.equal(plain[:2000], known[:2000])
    assert float((plain[2000:2100] / known[2000:2100]).median()) > 2


def test_simulated_stars_have_none():
    assert physics_of("default", "packaged", True).errors.profile is not None
    assert physics_of("default", "packaged", False).errors.profile is None
    assert physics_of("default", "packaged", True, differential=True).errors.profile is None
