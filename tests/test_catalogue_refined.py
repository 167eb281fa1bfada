"""Spectra on the network's pixels in HDF5, refined: the same numbers as one by one, rejects, resuming."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from maury.catalogue import CatalogueConfig, read_catalogue, run_catalogue
from maury.inference import predict_pixels
from maury.inference.refinement import physics_of
from nights import SUN

CONFIG = CatalogueConfig(model="default", refine=True, samples=500, labels="abundances:mg,y", shard=2)


@pytest.fixture(scope="module")
def stars(one_thread):
    """Four simulated stars; one of them without a good pixel."""
    simulator = physics_of("default", "packaged", True).coordinates.simulator
    rows = torch.zeros(4, len(simulator.labels))
    for k, teff in enumerate((5200.0, 5772.0, 6200.0, 5500.0)):
        labels = {**SUN, "vmac": 3.0, "teff": teff}
        rows[k] = torch.tensor([labels.get(name, 0.0) for name in simulator.labels])
    found = simulator.observe(rows, torch.Generator().manual_seed(4))
    return simulator.pixels.wavelength_aa, found


@pytest.fixture
def packed(stars, tmp_path):
    wavelength, found = stars
    path = tmp_path / "stars.h5"
    with h5py.File(path, "w") as file:
        file["flux"], file["sigma"] = found.flux.numpy(), found.sigma.numpy()
        good = found.good.numpy().copy()
        good[2] = False
        file["good"], file["resolution"], file["wavelength"] = good, found.resolution.numpy(), wavelength
    return path


def test_refined_spectra_are_those_of_one_by_one(stars, packed, tmp_path):
    _, found = stars
    summary = run_catalogue(packed, tmp_path / "r.fits", CONFIG)
    assert (summary.results, summary.rejects) == (3, 1)
    table = read_catalogue(tmp_path / "r.fits")
    for row, star in zip((0, 1), (found[0], found[1]), strict=True):
        one = predict_pixels(star, "default", samples=500, labels="abundances:mg,y").numbers()
        for name in ("teff", "teff_err", "logg_sys", "mg_fe", "y_fe", "y_fe_lines"):
            assert float(getattr(table[name], "value", table[name])[row]) == pytest.approx(one[name], rel=1e-5)
    assert np.isfinite(np.asarray(table["chi2"])).all()
    assert "rv_kms" not in table.colnames  # they are at rest
    (reject,) = read_catalogue(tmp_path / "r.fits" / "_rejects")
    assert reject["row"] == 2


def test_an_interrupted_catalogue_resumes(packed, tmp_path, monkeypatch):
    from maury.catalogue import packed_shards

    made, whole = [], packed_shards.predict_pixels

    def counted(star, *given, name, **options):
        made.append(name)
        if len(made) == 3:
            raise KeyboardInterrupt
        return whole(star, *given, name=name, **options)

    monkeypatch.setattr(packed_shards, "predict_pixels", counted)
    with pytest.raises(KeyboardInterrupt):
        run_catalogue(packed, tmp_path / "r.fits", CONFIG)
    monkeypatch.setattr(packed_shards, "predict_pixels", whole)
    again = run_catalogue(packed, tmp_path / "r.fits", CONFIG)
    assert (again.results, again.made) == (3, 2)


def test_without_refinement_nothing_changes(packed, tmp_path):
    run_catalogue(packed, tmp_path / "r.fits", CatalogueConfig(model="default"))
    names = read_catalogue(tmp_path / "r.fits").colnames
    assert "vmac" in names
    assert "chi2" not in names


def test_parallaxes_in_the_file(packed, tmp_path):
    """Luminosity, radius and mass where parallax and magnitude are known; half a pair is a reject."""
    with h5py.File(packed, "a") as file:
        for name, values in {
            "parallax": (50.0, np.nan, 50.0, 50.0), "parallax_error": [0.05] * 4, "gmag": (6.4, np.nan, 6.0, np.nan),
        }.items():  # fmt: skip
            file[name] = values
    run_catalogue(packed, tmp_path / "r.fits", CONFIG)
    table = read_catalogue(tmp_path / "r.fits")
    assert list(table["row"]) == [0, 1]
    assert table["luminosity"][0].to_value("L_sun") == pytest.approx(10 ** (-0.4 * (6.4 - 1.505 - 4.67)), rel=0.25)
    assert np.isfinite(table["mass_err"][0].value)
    assert np.isnan(table["luminosity"][1].value)
    reasons = read_catalogue(tmp_path / "r.fits" / "_rejects")["reason"]
    assert any("parallax is given without gmag" in reason for reason in reasons)
    bare = CatalogueConfig(model="default")
    run_catalogue(packed, tmp_path / "bare.fits", bare)
    assert "luminosity" not in read_catalogue(tmp_path / "bare.fits").colnames
