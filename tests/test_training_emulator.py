"""Fitting an emulator: the split is stable, the test part untouched, the fit learns, resumes and refuses other runs."""

import numpy as np
import pytest
import torch

from libraries import line_library
from maury.emulator import rms_per_star
from maury.errors import ConfigError, FormatError
from maury.evaluation.emulator_errors import evaluate_emulator, summary, unseen_rows, write_report
from maury.library import Library
from maury.training.emulator_fit import (
    TEST,
    TRAIN,
    VALIDATION,
    find_basis,
    fit_and_measure,
    prepare,
    split,
    to_modes_of,
)
from maury.training.recipes import EmulatorConfig

SETTINGS = EmulatorConfig(
    components=12,
    members=2,
    width=32,
    depth=2,
    epochs=40,
    batch_size=16,
    checkpoint_every=5,
    validation_fraction=0.15,
    test_fraction=0.15,
)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def library():
    return line_library(120)


@pytest.fixture(scope="module")
def fitted(library, tmp_path_factory):
    return fit_and_measure(library, SETTINGS, tmp_path_factory.mktemp("fit"))


def test_split_depends_on_the_star_alone():
    labels = line_library(200, lines=1).labels
    whole = split(labels, 0.1, 0.2)
    assert np.array_equal(split(labels[50:90][::-1], 0.1, 0.2), whole[50:90][::-1])
    shares = [np.mean(whole == part) for part in (TRAIN, VALIDATION, TEST)]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.08)


def test_basis_is_orthonormal_in_its_metric_and_spans_the_training_stars(library):
    modes = torch.from_numpy(to_modes_of(library.subset(slice(0, 30))))
    training = torch.arange(20)
    weight = torch.linspace(1, 0.5, modes.shape[1])
    size = 2 * (modes.shape[1] - 1)
    basis = find_basis(modes, training, 19, weight, size)
    weighted = torch.view_as_real(basis.components * weight).flatten(1) * np.sqrt(2 / size)
    assert torch.allclose(weighted @ weighted.T, torch.eye(19), atol=1e-3)
    back = basis.mean + basis.coefficients.to(torch.complex64) @ basis.components
    error = (back - modes).abs().mean(1)
    assert error[:20].max() < 1e-3 * modes[:, 1:].abs().mean()
    assert error[20:].min() > 10 * error[:20].max()


def test_fit_learns_the_lines(fitted, library):
    unseen = library.subset(unseen_rows(fitted, library.labels))
    modes = torch.from_numpy(to_modes_of(unseen))
    rms = rms_per_star(fitted, torch.from_numpy(unseen.labels).float(), modes)
    mean = torch.view_as_complex(fitted.mean.reshape(-1, 2))
    spread = torch.fft.irfft(modes - mean, n=fitted.grid.size).square().mean(1).sqrt().numpy()
    assert np.median(rms) < 0.35 * np.median(spread)
    assert fitted.header["training"]["stars"] + fitted.header["training"]["test_stars"] < len(library)
    assert int(fitted.errors.stars.sum()) == fitted.header["training"]["validation_stars"]


def test_test_stars_have_no_influence(library, fitted, tmp_path):
    rows = unseen_rows(fitted, library.labels)
    counts = library.counts.copy()
    counts[rows] = 3
    spoiled = Library(library.wavelength_aa, library.labels, counts, library.scale, library.kind)
    other = fit_and_measure(spoiled, SETTINGS, tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(fitted.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_killed_fit_goes_on_to_the_same_weights(library, fitted, tmp_path, monkeypatch):
    import maury.training.emulator_fit as module

    original = module.EmulatorTask.training_step

    def dies(self, rows, index):
        if self.current_epoch == 23:
            raise KilledError
        return original(self, rows, index)

    monkeypatch.setattr(module.EmulatorTask, "training_step", dies)
    with pytest.raises(KilledError):
        fit_and_measure(library, SETTINGS, tmp_path)
    assert (tmp_path / "last.ckpt").exists()
    epochs = []

    def counts(self, rows, index):
        epochs.append(self.current_epoch)
        return original(self, rows, index)

    monkeypatch.setattr(module.EmulatorTask, "training_step", counts)
    again = fit_and_measure(library, SETTINGS, tmp_path)
    assert min(epochs) == 20
    for a, b in zip(fitted.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_run_of_other_settings_is_refused(library, tmp_path):
    short = SETTINGS.model_copy(update={"epochs": 1})
    fit_and_measure(library, short, tmp_path)
    with pytest.raises(ConfigError, match="holds a fit with other settings or another library"):
        fit_and_measure(library, SETTINGS, tmp_path)
    with pytest.raises(ConfigError, match="another library"):
        fit_and_measure(library.subset(slice(0, 100)), short, tmp_path)


def test_too_small_a_library_is_refused(library, tmp_path):
    with pytest.raises(FormatError, match="1 spectra are too few"):
        prepare(library.subset(slice(0, 1)), SETTINGS)


def test_report_compares_test_stars_and_fits(fitted, library, tmp_path):
    from rich.progress import Progress

    result = evaluate_emulator(fitted, library, 42_000.0, recover=True, bar=Progress(disable=True))
    report = summary(result)
    assert report["flux_rms"]["3500-4500 K"]["stars"] + report["flux_rms"]["4500-9750 K"]["stars"] == len(result.rms)
    assert len(result.fitted) == len(result.recovered) > 0
    write_report(result, tmp_path)
    assert (tmp_path / "emulator.json").exists()


def test_a_fit_starts_from_another_emulator(library, fitted, tmp_path):
    """With hardly a step, the new emulator is the old one, though basis, features and training stars are others."""
    fitted.save(tmp_path / "old.safetensors")
    still = {"epochs": 1, "learning_rate": 1e-9, "weight_decay": 0.0, "components": 20, "seed": 8}
    settings = SETTINGS.model_copy(update={**still, "start": str(tmp_path / "old.safetensors")})
    half = library.subset(slice(40, 120))
    started = fit_and_measure(half, settings, tmp_path / "a")
    cold = fit_and_measure(half, settings.model_copy(update={"start": None}), tmp_path / "b")
    labels = torch.from_numpy(library.labels).float()
    old = fitted.modes(labels)
    spread = (old - old.mean(0)).abs().square().mean().sqrt()
    assert (started.modes(labels) - old).abs().square().mean().sqrt() < 0.02 * spread
    assert (cold.modes(labels) - old).abs().square().mean().sqrt() > 0.5 * spread
    assert len(started.header["started_from"]) == 64


def test_a_start_of_another_size_is_refused(library, fitted, tmp_path):
    fitted.save(tmp_path / "old.safetensors")
    wider = SETTINGS.model_copy(update={"width": 48, "start": str(tmp_path / "old.safetensors")})
    with pytest.raises(ConfigError, match="has other hidden layers"):
        fit_and_measure(library, wider, tmp_path / "run")
