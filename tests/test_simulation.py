"""Simulated observations: statistics of the draws, and truths that they must keep."""

import math

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury.broadening import instrument_sigma
from maury.config import make_config, to_toml
from maury.emulator import Emulator, NetworkPixels, load
from maury.errors import ConfigError, DomainError
from maury.labels import SYNTHESISED, LabelSpace, lowest_logg
from maury.pixelspectra import NAMES, PixelSpectra
from maury.simulation import SimulationSettings, Simulator
from maury.simulation.conditions import HazeSettings
from maury.simulation.draws import Draws

NOTHING = SimulationSettings.without_errors().model_dump()
"""Settings without any error."""


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return load()


@pytest.fixture(scope="module")
def stream(emulator) -> tuple[Simulator, PixelSpectra]:
    simulator = Simulator(emulator)
    return simulator, simulator.batch(512, seeded(3))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(**changes) -> SimulationSettings:
    """No error but those given; tables are merged."""
    merged = {k: {**NOTHING.get(k, {}), **v} if isinstance(v, dict) else v for k, v in changes.items()}
    return SimulationSettings.model_validate({**NOTHING, **merged})


def column(simulator, batch, name):
    return batch.labels[:, simulator.labels.index(name)].double().numpy()


def residual(simulator, batch, resolution=None):
    """Flux minus the flux without errors, and that flux."""
    truth = simulator.spectra(batch.labels, batch.resolution if resolution is None else resolution)
    return (batch.flux - truth).double().numpy(), truth


def row_of(emulator: Emulator, teff: float, logg: float, mh: float, vsini: float = 0.0) -> torch.Tensor:
    """Labels (1, k) of a star with solar abundance ratios and a microturbulence of 1 km/s."""
    row = torch.zeros(1, len(emulator.space) + 3)
    row[0, :4], row[0, len(emulator.space)] = torch.tensor([teff, logg, mh, 1.0]), vsini
    return row


def test_labels_fill_the_domain_and_stay_in_it(stream):
    simulator, batch = stream
    assert simulator.labels == (*SYNTHESISED, "vsini", "vmac", "alpha")
    simulator.space.require_inside(batch.labels.double().numpy())
    teff, logg = column(simulator, batch, "teff"), column(simulator, batch, "logg")
    assert (logg >= lowest_logg(teff) - 1e-4).all()
    assert np.abs(np.quantile(teff, [0.1, 0.5, 0.9]) - [4125, 6625, 9125]).max() < 400
    relative = (logg - lowest_logg(teff)) / (5 - lowest_logg(teff))
    assert np.abs(np.quantile(relative, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.07
    vsini = column(simulator, batch, "vsini")
    expected = [0.5 * math.log1p(v) / math.log1p(200) + 0.5 * v / 200 for v in (5, 20, 100)]
    assert np.abs([(vsini < v).mean() for v in (5, 20, 100)] - np.array(expected)).max() < 0.06
    alpha = np.mean([column(simulator, batch, name) for name in ("mg", "ca", "ti")], 0)
    assert np.abs(column(simulator, batch, "alpha") - alpha).max() < 1e-5
    assert np.corrcoef(column(simulator, batch, "mg"), column(simulator, batch, "ca"))[0, 1] > 0.5
    vmic, dwarfs = column(simulator, batch, "vmic"), logg > 4
    assert abs(np.median(vmic[dwarfs & (teff > 4900) & (teff < 6200)]) - 1.1) < 0.3
    assert np.median(vmic[dwarfs & (teff < 4300)]) < 0.9


def test_batches_are_finite_and_blank_where_nothing_is_good(stream):
    simulator, batch = stream
    assert batch.flux.shape == batch.sigma.shape == batch.good.shape == (512, simulator.pixels.count)
    assert batch.flux.dtype == batch.sigma.dtype == batch.labels.dtype == torch.float32
    assert all(bool(torch.isfinite(x).all()) for x in (batch.flux, batch.sigma, batch.labels, batch.resolution))
    assert bool((batch.flux[~batch.good] == 1).all())
    assert bool((batch.sigma[~batch.good] == 1).all())
    assert bool((batch.sigma > 0).all())
    assert 0.85 < float(batch.good.float().mean()) < 0.97
    assert batch.resolution.max() == simulator.pixels.resolution
    sharp = float((batch.resolution == simulator.pixels.resolution).float().mean())
    assert abs(sharp - math.log(115 / 50) / math.log(11.5)) < 0.07
    snr = 1 / batch.sigma.masked_fill(~batch.good, torch.nan).nanmedian(1).values
    assert 3 < snr.min() < 15
    assert 500 < snr.max() < 2000


def test_a_seed_gives_the_same_batch_and_another_does_not(emulator, stream):
    again = Simulator(emulator).batch(512, seeded(3))
    assert all(torch.equal(getattr(stream[1], name), getattr(again, name)) for name in NAMES)
    other = Simulator(emulator).batch(4, seeded(4))
    assert not torch.equal(other.flux, again.flux[:4])


def test_without_errors_it_is_the_emulators_flux(emulator):
    simulator = Simulator(emulator, only(resolution=(10_000.0, 50_000.0)))
    batch = simulator.batch(12, seeded(5))
    sampler = emulator.sampler(simulator.pixels.wavelength_aa, 50_000.0)
    own = len(emulator.space)
    vsini, vmac = batch.labels[:, own], batch.labels[:, own + 1]
    expected = emulator.flux(batch.labels[:, :own], vsini, batch.resolution, sampler, vmac_kms=vmac)
    assert (batch.flux - expected).abs().max() < 1e-4
    assert (batch.flux.std(1) > 1e-3).all()


def test_sharp_spectra_come_at_the_reference_resolution(emulator):
    labels = Simulator(emulator, only()).batch(8, seeded(6)).labels
    sharp, reference, low = (
        Simulator(emulator, only(resolution=(r, r))).observe(labels, seeded(1)) for r in (115_000.0, 50_000.0, 20_000.0)
    )
    assert (sharp.flux - reference.flux).abs().max() < 1e-4
    assert (sharp.resolution == 50_000).all()
    assert (low.resolution - 20_000).abs().max() < 0.1
    slow = labels[:, len(emulator.space)] < 30
    assert (low.flux.std(1) < reference.flux.std(1))[slow].all()


@pytest.mark.parametrize("resolution", [20_000.0, 115_000.0])
def test_sigma_is_the_truth(emulator, resolution):
    noise = {"snr": (20.0, 200.0), "correlated_share": 0.0, "reported_error": 0.0}
    simulator = Simulator(emulator, only(noise=noise, resolution=(resolution, resolution)))
    batch = simulator.batch(48, seeded(7))
    z = residual(simulator, batch)[0] / batch.sigma.double().numpy()
    sums = z[:, : z.shape[1] // 50 * 50].reshape(len(z), -1, 50).sum(2) / math.sqrt(50)
    assert abs((sums**2).mean() - (1 if resolution == 20_000 else 0.95)) < 0.06
    smoothed = max(float(instrument_sigma(50_000.0)) ** 2 - float(instrument_sigma(resolution)) ** 2, 0)
    pixels = 2.0 / math.sqrt(4 * math.pi * smoothed) if smoothed else 1.0
    assert abs((z**2).mean() - pixels) < 0.02
    assert (batch.sigma.amax(1) / batch.sigma.amin(1)).median() > 1.2


def test_sigma_falls_with_the_flux_as_photons_do(emulator):
    noise = {"snr": (80.0, 80.0), "detector": (0.2, 0.2), "tilt": 0.0, "blaze": 0.0}
    simulator = Simulator(emulator, only(noise=noise))
    batch = simulator.batch(8, seeded(23))
    truth = simulator.spectra(batch.labels, batch.resolution)
    assert (batch.sigma * 80 - (0.8 * truth + 0.2).sqrt()).abs().max() < 1e-3
    varied = Simulator(emulator, only(noise={**noise, "blaze": 1.0, "tilt": 0.3, "detector": (1.0, 1.0)}))
    shape = varied.batch(64, seeded(24)).sigma * 80
    assert (shape.median(1).values - 1).abs().max() < 0.02
    assert 1.3 < (shape.amax(1) / shape.amin(1)).max() < 3


def test_reported_sigma_is_wrong_as_told(emulator):
    noise = {"snr": (50.0, 50.0), "correlated_share": 0.0, "reported_error": 0.3}
    simulator = Simulator(emulator, only(noise=noise, resolution=(20_000.0, 20_000.0)))
    batch = simulator.batch(64, seeded(8))
    factor = 1 / (residual(simulator, batch)[0] / batch.sigma.double().numpy()).std(1)
    assert 0.66 < factor.min() < 0.8
    assert 1.2 < factor.max() < 1.34


def test_resampled_noise_is_correlated_but_keeps_its_sums(emulator):
    noise = {"snr": (50.0, 50.0), "correlated_share": 1.0, "correlated_pixels": 0.8, "reported_error": 0.0}
    simulator = Simulator(emulator, only(noise=noise, resolution=(20_000.0, 20_000.0)))
    batch = simulator.batch(32, seeded(9))
    z = residual(simulator, batch)[0] / batch.sigma.double().numpy()
    neighbours = (z[:, 1:] * z[:, :-1]).mean(1) / (z**2).mean(1)
    assert neighbours.max() > 0.5 > 0.2 > neighbours.min()
    sums = z[:, :8600].reshape(32, -1, 50).sum(2) / math.sqrt(50)
    assert abs((sums**2).mean() - 1) < 0.06


def test_model_errors_have_the_level_told_and_shrink_with_rotation(emulator):
    table = {"level": (0.01, 0.01), "teff_k": (3000.0, 10_000.0), "mh_slope": 0.0, "scatter": 0.0}
    settings = only(model_error=table, resolution=(50_000.0, 50_000.0))
    simulator = Simulator(emulator, settings)
    row, fast = (row_of(emulator, 5772.0, 4.44, 0.0, vsini) for vsini in (0.0, 50.0))
    slow_error, fast_error = (
        residual(simulator, simulator.observe(x.expand(16, -1), seeded(10)))[0] for x in (row, fast)
    )
    assert abs(slow_error.std() / 0.01 - 1) < 0.03
    assert fast_error.std() < 0.4 * slow_error.std()
    lag = (slow_error[:, 1:] * slow_error[:, :-1]).mean() / slow_error.var()
    width2 = 1.5**2 + float(instrument_sigma(50_000.0)) ** 2
    assert abs(lag - math.exp(-4 / (4 * width2))) < 0.03
    assert np.mean(slow_error**4) / slow_error.var() ** 2 > 4


def test_model_errors_grow_towards_cool_and_metal_rich_stars(emulator):
    settings = only(model_error={**SimulationSettings().model_error.model_dump(), "emulator": 0.0})
    simulator = Simulator(emulator, settings)
    rows = torch.cat([row_of(emulator, teff, 4.5, mh) for teff in (4000, 6000) for mh in (-2, 0.2)])
    scatter = residual(simulator, simulator.observe(rows.repeat(16, 1), seeded(11)))[0].reshape(16, 4, -1).std((0, 2))
    assert scatter[1] > 4 * scatter[3]
    assert scatter[1] > 3 * scatter[0]


def test_the_emulators_own_error_is_that_of_its_map(emulator):
    simulator = Simulator(emulator, only(model_error={"emulator": 1.0}, resolution=(42_000.0, 42_000.0)))
    rows = row_of(emulator, 3800.0, 4.5, 0.0).expand(64, -1)
    found = np.sqrt((residual(simulator, simulator.observe(rows, seeded(12)))[0] ** 2).mean(0))
    mapped = emulator.errors.at(rows[:1, : len(emulator.space)])[0].double().numpy()
    expected = np.interp(simulator.pixels.wavelength_aa, emulator.errors.grid.wavelength_aa, mapped)
    assert abs(np.sqrt((found**2).mean() / (expected**2).mean()) - 1) < 0.1
    wide = np.ones(40) / 40
    assert np.corrcoef(np.convolve(found, wide, "valid"), np.convolve(expected, wide, "valid"))[0, 1] > 0.8


def test_the_continuum_is_wrong_as_told_and_only_slowly(emulator):
    settings = only(continuum={"floor": 0.01})
    simulator = Simulator(emulator, settings)
    batch = simulator.batch(128, seeded(13))
    ratio = (batch.flux / simulator.spectra(batch.labels, batch.resolution)).double().numpy() - 1
    assert abs(ratio.std() / 0.01 - 1) < 0.1
    assert np.abs(np.diff(ratio, axis=1)).max() < 0.001


@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [
        ({"ripple_share": 1.0, "ripple": 0.02}, 0.004, 0.012),
        ({"join_share": 1.0, "join": 0.01}, 0.005, 0.015),
    ],
)
def test_ripples_and_steps(emulator, changes, low, high):
    simulator = Simulator(emulator, only(continuum=changes))
    batch = simulator.batch(64, seeded(14))
    ratio = (batch.flux / simulator.spectra(batch.labels, batch.resolution)).double().numpy() - 1
    assert low < np.sqrt((ratio**2).mean()) < high


def test_scattered_light_fills_lines_and_leaves_the_continuum(emulator):
    simulator = Simulator(emulator, only(continuum={"scattered_share": 1.0, "scattered": (0.05, 0.05)}))
    batch = simulator.batch(16, seeded(15))
    truth = simulator.spectra(batch.labels, batch.resolution)
    assert (batch.flux - (truth + 0.05) / 1.05).abs().max() < 1e-4


def test_velocities_move_lines(emulator):
    simulator = Simulator(emulator, only(velocity_kms=2.0))
    sun = row_of(emulator, 5772.0, 4.44, 0.0, 3.0).expand(64, -1)
    error, truth = residual(simulator, simulator.observe(sun, seeded(16)))
    slope = np.gradient(truth.double().numpy(), 2.0, axis=1)
    moved = -(error * slope).sum(1) / (slope**2).sum(1)
    assert abs(moved.std() / 2.0 - 1) < 0.25
    assert abs(moved.mean()) < 1


def test_the_fixed_gap_moves_with_the_star(emulator):
    simulator = Simulator(emulator, only(gaps={"fixed_share": 1.0, "fixed_kms": 100.0}))
    good, wave = simulator.batch(64, seeded(17)).good.numpy(), simulator.pixels.wavelength_aa
    assert not good[:, (wave > 5306) & (wave < 5335)].any()
    assert good[:, (wave < 5302) | (wave > 5339)].all()
    edges = wave[good.argmin(1)]
    assert np.ptp(edges) > 2


def test_short_spectra_are_in_one_piece_of_at_least_the_length_told(emulator):
    simulator = Simulator(emulator, only(gaps={"short_share": 1.0}))
    good, wave = simulator.batch(128, seeded(18)).good.numpy(), simulator.pixels.wavelength_aa
    assert (np.abs(np.diff(good.astype(int), axis=1)).sum(1) <= 2).all()
    length = np.array([np.ptp(wave[row]) for row in good])
    assert 61.9 < length.min() < 80
    assert length.max() > 250


def test_gaps_between_orders_and_bad_pixels(emulator):
    between = Simulator(emulator, only(gaps={"orders_share": 1.0, "orders_aa": (4.0, 4.0)})).batch(64, seeded(19)).good
    missing = 1 - between.double().mean(1)
    assert 0.01 < missing.min() < missing.max() < 0.13
    bad = 1 - Simulator(emulator, only(gaps={"bad_pixels": 0.02})).batch(128, seeded(20)).good.double().mean(1)
    assert bad.max() < 0.0202
    assert abs(bad.mean() - 0.01) < 0.002


def test_spikes_stand_above_the_noise(emulator):
    gaps = {"spike_share": 1.0, "spike_sigma": (8.0, 8.0)}
    simulator = Simulator(emulator, only(gaps=gaps, noise={"snr": (100.0, 100.0)}, resolution=(20_000.0, 20_000.0)))
    batch = simulator.batch(32, seeded(21))
    z = residual(simulator, batch)[0] / batch.sigma.double().numpy()
    assert 1 <= (z > 5.5).sum(1).mean() <= 3


def test_other_physics_draw_their_own_labels_in_their_own_domain():
    base = tiny_emulator()
    space = LabelSpace(("teff", "logg", "mh"), (4000.0, 2.0, -1.0), (6000.0, 5.0, 0.5))
    scale = (base.feature_mean[[0, 1, 2, 3, 4]], base.feature_std[[0, 1, 2, 3, 4]])
    networks = type(base.networks)(2, 5, 8, 1, 3, seed=3)
    mean, basis = (torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) for x in (base.mean, base.basis))
    header = {"hull": [[4000.0, 4.0], [6000.0, 2.0], [6000.0, 5.0], [4000.0, 5.0]], "resolution": 40_000.0}
    emulator = Emulator(networks, base.grid, mean, basis, scale, base.coefficient_scale, header, None, space).eval()
    settings = SimulationSettings(resolution=(10_000.0, 40_000.0))
    simulator = Simulator(emulator, settings)
    batch = simulator.batch(200, seeded(22))
    assert simulator.labels == ("teff", "logg", "mh", "vsini", "vmac")
    lowest = 4 - (batch.labels[:, 0] - 4000) / 1000
    assert (batch.labels[:, 1] > lowest - 0.2).all()  # the domain reaches a little beyond the hull
    assert (batch.labels[:, 1] < lowest + 1).any()
    assert batch.resolution.max() <= 40_000
    with pytest.raises(DomainError, match="resolution up to 115000 is above that of the emulator's library, 40000"):
        Simulator(emulator)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": {"snr": (50.0, 5.0)}}, r"noise.snr = .*: Value error, the lower end 50 is above the upper end 5"),
        ({"noise": {"snr": (0.0, 5.0)}}, r"noise.snr.0 = 0.0: Input should be greater than 0"),
        ({"resolution": (1000.0, 50_000.0)}, r"resolution.0 = 1000.0: Input should be greater than or equal to 5000"),
        ({"gaps": {"fixed_share": 0.9, "short_share": 0.9}}, "shares of fixed, orders and short gaps add up to 1.95"),
        ({"model_error": {"level": (0.1, 0.2)}}, "6 temperatures, but 2 values"),
        ({"haze": {"size": (0.1, 0.0)}}, "6 temperatures, but 2 values"),
        ({"model_error": {"teff_k": (5000, 4000), "level": (0.1, 0.2)}}, "temperatures must increase"),
        ({"noise": {"sn": 5}}, "unknown setting noise.sn; allowed: prior.vsini_kms, "),
        ({"continuum": {"ripple": 0.8}}, "ripple = 0.8: Input should be less than 0.5"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        make_config(values, SimulationSettings, "observations.toml")


def test_settings_survive_toml():
    import tomllib

    text = to_toml(SimulationSettings().model_dump(mode="json"))
    assert make_config(tomllib.loads(text), SimulationSettings, "text") == SimulationSettings()


def test_bad_requests_are_named(emulator):
    simulator = Simulator(emulator)
    with pytest.raises(DomainError, match="at least 1 spectrum must be asked for, got 0"):
        simulator.batch(0, seeded(1))
    row = row_of(emulator, 5772.0, 9.0, 0.0, 3.0)
    with pytest.raises(DomainError, match=r"labels: row 1: logg = 9 .* outside the allowed range 0 to 5"):
        simulator.observe(row, seeded(1))
    row[0, 1], row[0, len(emulator.space)] = 4.0, -5.0
    with pytest.raises(DomainError, match="labels: row 1: vsini = -5 km/s is outside the allowed range 0 to 200"):
        simulator.observe(row, seeded(1))
    with pytest.raises(DomainError, match="labels: 12 columns, but the labels are teff, logg"):
        simulator.observe(row[:, :12], seeded(1))
    with pytest.raises(DomainError, match="short_aa = 400 Å is longer than the emulator's window"):
        Simulator(emulator, only(gaps={"short_aa": 400.0}))
    with pytest.raises(DomainError, match=r"step 0.5 km/s is outside the allowed range 1 to 20 km/s"):
        NetworkPixels.of(emulator, step_kms=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_spectra(emulator):
    here, there = Simulator(emulator, only()), Simulator(emulator, only(), "cuda")
    batch = there.batch(64, torch.Generator("cuda").manual_seed(1))
    assert batch.flux.device.type == "cuda"
    expected = here.spectra(batch.labels.cpu(), batch.resolution.cpu())
    assert (batch.flux.cpu() - expected).abs().max() < 1e-4
    with pytest.raises(DomainError, match="the generator is on cpu, the simulator on cuda"):
        there.batch(1, seeded(1))


def test_haze_fills_lines_of_cool_stars_alone(emulator):
    """flux = model + h (1 - model), h linear in Teff between its nodes, with its scatter from star to star."""
    haze = {"teff_k": (4000.0, 5000.0), "size": (0.2, 0.0), "scatter": 0.3}
    none = SimulationSettings.without_errors()
    hazy = Simulator(emulator, none.model_copy(update={"haze": HazeSettings(**haze)}))
    clear = Simulator(emulator, none)
    labels = clear.draw_labels(3, torch.Generator().manual_seed(1))
    labels[:, clear.labels.index("teff")] = torch.tensor([3900.0, 4500.0, 5200.0])
    labels[:, clear.labels.index("logg")] = 4.5
    resolution = torch.full((3,), 40_000.0)
    h = hazy.haze.usual(labels)
    assert h.tolist() == pytest.approx([0.2, 0.1, 0.0])
    model = clear.spectra(labels, resolution)
    torch.testing.assert_close(hazy.spectra(labels, resolution), model + h[:, None] * (1 - model), rtol=0, atol=2e-6)
    many = labels[:1].expand(400, -1)
    drawn = hazy.haze.draw(many, Draws(400, torch.Generator().manual_seed(2)))
    assert float(drawn.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.06, abs=0.01)
