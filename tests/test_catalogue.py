"""Catalogues: the same numbers as one by one, nothing lost or doubled after a kill, bad spectra among the rejects."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import astropy.units as u
import h5py
import numpy as np
import pytest
import torch

import maury
from fakes import tiny_emulator
from maury.catalogue import CatalogueConfig, parts, read_catalogue, read_manifest, run_catalogue
from maury.catalogue.file_shards import FileResult, make_parts
from maury.catalogue.lists import Entry, FileList
from maury.catalogue.manifest import Output
from maury.catalogue.parts import read_part, write_part
from maury.catalogue.table_columns import REJECTS, append, columns_of, empty
from maury.emulator import NetworkPixels
from maury.errors import ConfigError, FormatError, OutputError, SynthesisError
from maury.inference import predict, predict_batch
from maury.labels import LabelSpace
from maury.networks import LabelTransform, PosteriorNetwork, save
from maury.networks.architectures import PosteriorConfig
from maury.pixelspectra import PixelSpectra
from maury.readers import read, write
from maury.threads import one_thread
from nights import K_DWARF, SUN, Instrument, observe
from patience import PATIENCE_S
from verbs import run

NAMES = ("teff", "logg", "mh", "vsini", "mg")
PIXELS = NetworkPixels.of(tiny_emulator())
SPACE = LabelSpace(NAMES, (3500.0, 0.0, -2.5, 0.0, -0.3), (9750.0, 5.0, 0.5, 200.0, 0.7))
PRIOR = LabelTransform(SPACE, ((3500.0, 0.0, 5.0), (9750.0, 2.0, 5.0)))
CONFIG = PosteriorConfig(
    pixels=PIXELS.count, labels=NAMES, components=8, width=16, depth=1, bins=4, context=4, transforms=2, knots=4,
    hidden=(8,),
)  # fmt: skip
ROWS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that is not trained, with labels that depend on the spectrum."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = PosteriorNetwork(CONFIG, PRIOR, 1)
    with torch.no_grad():
        network.points[2].weight.normal_(0, 3.0, generator=torch.Generator().manual_seed(2))
        network.points[2].bias.unflatten(0, (len(NAMES), 4))[:, 1:] = -2.0
    ends = [float(x) for x in PIXELS.wavelength_aa[[0, -1]]]
    pixels = {"pixels": asdict(PIXELS), "wavelength": ends, "sampling": "log", "resolution": PIXELS.resolution}
    save(path, network, {"preset": "tiny", **pixels, **PRIOR.header()})
    return str(path)


def write_packed(path, rows=ROWS, seed=5, **changes):
    """An HDF5 file of noisy spectra, each with lines of its own depth; ``changes`` spoil its arrays."""
    rng = np.random.default_rng(seed)
    lines = np.exp(-0.5 * ((np.arange(PIXELS.count) % 90 - 45) / 6) ** 2)
    arrays = {
        "flux": (1 - rng.uniform(0, 0.9, (rows, 1)) * lines + 0.02 * rng.standard_normal((rows, 1))).astype("f4"),
        "sigma": np.full((rows, PIXELS.count), 0.02, "f4"),
        "good": np.ones((rows, PIXELS.count), bool),
        "resolution": rng.uniform(20_000, 50_000, rows),
        "wavelength": PIXELS.wavelength_aa,
        "id": np.array([f"star-{row}".encode() for row in range(rows)]),
    }
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
    return arrays


def on_pixels(arrays):
    mask = ~arrays["good"]
    return PixelSpectra(flux=arrays["flux"], sigma=arrays["sigma"], mask=mask, resolution=arrays["resolution"])


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "spectra.h5"
    return path, write_packed(path)


def same(one, other):
    assert one.colnames == other.colnames
    for name in one.colnames:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)


@pytest.mark.parametrize("ending", ["parquet", "fits"])
def test_the_table_holds_what_predict_batch_says(packed, model, tmp_path, ending):
    path, arrays = packed
    seen = []
    out = tmp_path / f"r.{ending}"
    summary = run_catalogue(path, out, CatalogueConfig(model=model, shard=16), advance=lambda *n: seen.append(n))
    assert (summary.results, summary.rejects, summary.made) == (ROWS, 0, ROWS)
    assert seen == [(16, 0)] * 3 + [(12, 0)]
    table = read_catalogue(out)
    expected = predict_batch(on_pixels(arrays), model)
    np.testing.assert_allclose(table["teff"].to_value(u.K), expected.median[:, 0], rtol=1e-5)
    np.testing.assert_allclose(table["mg_fe_hi"].value, expected.upper[:, 4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        table["vsini_err"].to_value(u.m / u.s), 500 * (expected.upper - expected.lower)[:, 3], rtol=1e-3
    )
    np.testing.assert_allclose(table["snr"], 50, rtol=1e-5)
    assert np.ptp(expected.median[:, 0]) > 100  # the spectra differ
    assert list(table["id"]) == [f"star-{row}" for row in range(ROWS)]
    assert list(table["row"]) == list(range(ROWS))
    assert table["logg"].unit == u.Unit("dex(cm s^-2)")
    manifest = read_manifest(out)
    assert manifest["status"] == "finished"
    assert manifest["results"] == ROWS
    assert len(manifest["models"]["network"]["sha256"]) == 64
    assert manifest["settings"]["shard"] == 16


def test_parquet_is_read_by_others(packed, model, tmp_path):
    """A folder of parts is a partitioned data set to pyarrow; manifest and rejects are not in its way."""
    from pyarrow import parquet

    write_packed(tmp_path / "s.h5", flux=lambda f: np.where(np.arange(ROWS)[:, None] == 20, np.nan, f))
    run_catalogue(tmp_path / "s.h5", tmp_path / "r.parquet", CatalogueConfig(model=model, shard=16))
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.num_rows == ROWS - 1
    field = table.schema.field("teff")
    assert field.metadata == {b"unit": b"K", b"description": b"effective temperature"}
    assert json.loads(table.schema.metadata[b"maury"])["models"] == read_manifest(tmp_path / "r.parquet")["models"]


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("flux", lambda x: np.where(np.arange(PIXELS.count) == 7, np.nan, x), "flux is not finite in 1 good pixels"),
        ("flux", lambda x: np.full_like(x, np.nan), f"flux is not finite in {PIXELS.count} good"),
        ("flux", lambda x: 1000 * x, "median flux .*: not in units of the continuum"),
        ("flux", lambda x: 0 * x, "median flux 0: not in units of the continuum"),
        ("sigma", lambda x: 0 * x, f"sigma is not finite and positive in {PIXELS.count} good pixels"),
        ("sigma", lambda x: -x, "sigma is not finite and positive"),
        ("sigma", lambda x: x + 1, r"signal-to-noise 1.0 per pixel; at least 3"),
        ("good", lambda x: np.arange(PIXELS.count) < 900, r"covers 30.4 Å of the window .* at least 60 Å"),
        ("resolution", lambda x: np.nan, "resolution nan: must be between 500 and 50000"),
        ("resolution", lambda x: 115_000.0, "resolution 115000: must be"),
    ],
)
def test_a_corrupted_spectrum_is_rejected_and_no_other(packed, model, tmp_path, name, spoil, reason):
    def change(values):
        values = values.copy()
        values[17] = spoil(values[17])
        return values

    write_packed(tmp_path / "bad.h5", **{name: change})
    summary = run_catalogue(tmp_path / "bad.h5", tmp_path / "bad.parquet", CatalogueConfig(model=model))
    assert (summary.results, summary.rejects) == (ROWS - 1, 1)
    (reject,) = parts.each_reject(tmp_path / "bad.parquet")
    assert (reject["id"], reject["file"], reject["row"]) == ("star-17", "bad.h5", 17)
    assert re.search(reason, reject["reason"])
    assert 17 not in read_catalogue(tmp_path / "bad.parquet")["row"]


def test_pixels_that_are_not_good_may_hold_anything(packed, model, tmp_path):
    def change(values):
        return np.where(np.arange(PIXELS.count) // 100 == 3, np.nan, values)

    def gap(values):
        return values & (np.arange(PIXELS.count) // 100 != 3)

    write_packed(tmp_path / "gap.h5", flux=change, sigma=change, good=gap)
    assert run_catalogue(tmp_path / "gap.h5", tmp_path / "r.parquet", CatalogueConfig(model=model)).rejects == 0


def test_a_damaged_chunk_costs_its_rows_only(model, tmp_path):
    path = tmp_path / "s.h5"
    arrays = write_packed(path)
    with h5py.File(path, "a") as file:
        del file["flux"]
        data = file.create_dataset("flux", data=arrays["flux"], chunks=(2, PIXELS.count), compression="gzip")
        chunk = data.id.get_chunk_info(5)
    with open(path, "r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * (chunk.size // 2))
    summary = run_catalogue(path, tmp_path / "r.parquet", CatalogueConfig(model=model))
    assert (summary.results, summary.rejects) == (ROWS - 2, 2)
    assert [reject["row"] for reject in parts.each_reject(tmp_path / "r.parquet")] == [10, 11]


def test_damaged_identifiers_cost_their_rows_only(model, tmp_path):
    path = tmp_path / "s.h5"
    arrays = write_packed(path)
    with h5py.File(path, "a") as file:
        del file["id"]
        chunk = file.create_dataset("id", data=arrays["id"], chunks=(3,), compression="gzip").id.get_chunk_info(4)
    with open(path, "r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)
    summary = run_catalogue(path, tmp_path / "r.parquet", CatalogueConfig(model=model, shard=20))
    assert (summary.results, summary.rejects) == (ROWS - 3, 3)
    for row, reject in enumerate(parts.each_reject(tmp_path / "r.parquet"), 12):
        assert (reject["id"], reject["row"], reject["reason"]) == (str(row), row, "its id is damaged in the file")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_be_opened_any_more_costs_its_own_rows(model, tmp_path, workers):
    """It was whole when the catalogue was begun; the other file has its results, and --retry makes the rest."""
    files = [tmp_path / name for name in ("a.h5", "b.h5")]
    for seed, path in enumerate(files):
        write_packed(path, rows=10, seed=seed, id=lambda ids: None)
    content, out, config = files[0].read_bytes(), tmp_path / "r.parquet", CatalogueConfig(model=model)

    def truncate(total, results, rejects):
        assert total == 20
        files[0].write_bytes(content[:1000])

    summary = run_catalogue(tmp_path / "*.h5", out, config, start=truncate, workers=workers)
    assert (summary.results, summary.rejects) == (10, 10)
    rejects = list(parts.each_reject(out))
    assert [reject["id"] for reject in rejects] == [f"a.h5:{row}" for row in range(10)]
    assert all("a.h5: " in reject["reason"] and "truncated" in reject["reason"] for reject in rejects)
    files[0].write_bytes(content)
    assert run_catalogue(tmp_path / "*.h5", out, config, retry=True).results == 20


def test_a_worker_that_dies_on_a_part_costs_that_part(packed, model, tmp_path, monkeypatch):
    def map_tasks(self, maker, tasks, timeout_s):
        """The second part ends its process."""
        call = maker[0](*maker[1])
        yield from ((k, SynthesisError("crashed with SIGKILL") if k == 1 else call(*task)) for k, task in tasks)

    monkeypatch.setattr("maury.synthesis.pool.Workers.map", map_tasks)
    summary = run_catalogue(packed[0], tmp_path / "r.fits", CatalogueConfig(model=model, shard=20), workers=2)
    assert (summary.results, summary.rejects) == (ROWS - 20, 20)
    rejects = list(parts.each_reject(tmp_path / "r.fits"))
    assert [reject["id"] for reject in rejects] == [f"star-{row}" for row in range(20, 40)]
    assert {reject["reason"] for reject in rejects} == {"crashed with SIGKILL"}


def test_integers_with_a_scale_a_mask_and_one_resolution(packed, model, tmp_path):
    _, arrays = packed
    path = tmp_path / "counts.h5"
    write_packed(path, flux=lambda f: None, good=lambda g: None, resolution=lambda r: None, id=lambda i: None)
    with h5py.File(path, "a") as file:
        file["flux"] = np.round(arrays["flux"] * 20_000).astype("u2")
        file["flux"].attrs["scale"] = 1 / 20_000
        file["mask"] = np.zeros((ROWS, PIXELS.count), "u1")
        file.attrs["resolution"] = 40_000.0
    run_catalogue(path, tmp_path / "r.parquet", CatalogueConfig(model=model))
    table = read_catalogue(tmp_path / "r.parquet")
    expected = predict_batch(on_pixels(arrays | {"resolution": np.full(ROWS, 40_000.0)}), model)
    np.testing.assert_allclose(table["teff"].value, expected.median[:, 0], atol=2)
    assert list(table["id"]) == [str(row) for row in range(ROWS)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": lambda x: np.where(np.arange(ROWS) == 9, x[3], x)}, r"id 'star-3' is not unique: row 3, row 9"),
        ({"wavelength": lambda x: x + 1}, r"its pixels from 5051.* are not the network's"),
        ({"wavelength": lambda x: None}, "missing dataset wavelength; found: "),
        ({"flux": lambda x: x[:, 1:]}, rf"flux has shape \(60, {PIXELS.count - 1}\); the network takes \(n, "),
        ({"sigma": lambda x: x[1:]}, r"dataset sigma has shape \(59"),
        ({"flux": lambda x: np.round(x).astype("i2")}, "integers of flux need a positive attribute scale"),
    ],
)
def test_files_that_cannot_be_used_as_a_whole(model, tmp_path, changes, message):
    write_packed(tmp_path / "s.h5", **changes)
    with pytest.raises(FormatError, match=message):
        run_catalogue(tmp_path / "s.h5", tmp_path / "r.parquet", CatalogueConfig(model=model))
    assert not (tmp_path / "r.parquet").exists()


def test_no_hdf5(model, tmp_path):
    (tmp_path / "s.h5").write_bytes(b"not HDF5")
    with pytest.raises(FormatError, match=r"s\.h5: not a readable HDF5 file"):
        run_catalogue(tmp_path / "s.h5", tmp_path / "r.parquet", CatalogueConfig(model=model))
    with pytest.raises(FormatError, match=r"none\.h5: no such file"):
        run_catalogue(tmp_path / "none.h5", tmp_path / "r.parquet", CatalogueConfig(model=model))
    with pytest.raises(ConfigError, match=r"r\.csv: unknown ending \.csv; allowed for catalogues"):
        run_catalogue(tmp_path / "s.h5", tmp_path / "r.csv", CatalogueConfig(model=model))
    with pytest.raises(ConfigError, match="starnet-spc: gives point estimates"):
        run_catalogue(tmp_path / "s.h5", tmp_path / "r.parquet", CatalogueConfig(model="starnet-spc"))


def test_several_files_by_a_pattern(model, tmp_path):
    for k in range(2):
        write_packed(tmp_path / f"s{k}.h5", rows=10, seed=k, id=lambda i: None)
    run_catalogue(tmp_path / "s*.h5", tmp_path / "r.parquet", CatalogueConfig(model=model, shard=8))
    table = read_catalogue(tmp_path / "r.parquet")
    assert list(table["id"][[0, 19]]) == ["s0.h5:0", "s1.h5:9"]


def test_a_catalogue_goes_on_only_as_it_was_begun(packed, model, tmp_path):
    path, _ = packed
    out = tmp_path / "r.parquet"
    config = CatalogueConfig(model=model, shard=16)
    run_catalogue(path, out, config)
    before = read_catalogue(out)
    assert run_catalogue(path, out, config).made == 0
    with pytest.raises(
        ConfigError,
        match=r"was begun with settings\.samples = None, now it is 50; name another folder, or delete",
    ):
        run_catalogue(path, out, config.model_copy(update={"samples": 50}))
    write_packed(tmp_path / "spectra.h5", seed=6)
    with pytest.raises(
        ConfigError, match=r"was begun with input\.files\.spectra\.h5\.sha256_sampled = .\w+\.\.\., now it is"
    ):
        run_catalogue(tmp_path / "spectra.h5", out, config)
    (out / "part-000002.parquet").write_bytes(b"damaged by a crash of the machine")
    assert run_catalogue(path, out, config).made == 16
    same(read_catalogue(out), before)
    (out / "note.txt").write_text("mine")
    assert run_catalogue(path, out, config, fresh=True).made == ROWS
    assert (out / "note.txt").exists()
    (tmp_path / "mine.parquet").mkdir()
    (tmp_path / "mine.parquet" / "x").touch()
    with pytest.raises(ConfigError, match="neither empty nor a catalogue"):
        run_catalogue(path, tmp_path / "mine.parquet", config)


def test_a_full_disk_and_then_space(packed, model, tmp_path, monkeypatch):
    path, _ = packed
    written = []

    def full(*arguments):
        written.append(arguments)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*arguments)

    whole = parts._write_parquet
    monkeypatch.setattr(parts, "_write_parquet", full)
    config = CatalogueConfig(model=model, shard=16)
    with pytest.raises(OutputError, match=r"part-000002\.parquet: cannot be written: No space left on device"):
        run_catalogue(path, tmp_path / "r.parquet", config)
    assert read_manifest(tmp_path / "r.parquet")["status"] == "unfinished"
    assert run_catalogue(path, tmp_path / "r.parquet", config).made == ROWS - 32
    assert list(read_catalogue(tmp_path / "r.parquet")["row"]) == list(range(ROWS))


@one_thread()  # sums in the order of one thread, as in the processes of the test: other orders round otherwise
def test_killed_at_random_moments_nothing_is_lost_or_doubled(packed, model, tmp_path):
    rows = 600
    write_packed(tmp_path / "s.h5", rows=rows, flux=lambda f: np.where(np.arange(rows)[:, None] % 100 == 7, np.nan, f))
    config = CatalogueConfig(model=model, shard=10)
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    summary = run_catalogue(tmp_path / "s.h5", whole, config)
    assert (summary.results, summary.rejects) == (rows - 6, 6)
    source = os.path.dirname(os.path.dirname(maury.__file__))
    script = (
        "import sys; from maury.catalogue import CatalogueConfig, run_catalogue; "
        "run_catalogue(sys.argv[1], sys.argv[2], CatalogueConfig(model=sys.argv[3], shard=10))"
    )
    command = [sys.executable, "-c", script, tmp_path / "s.h5", killed, model]
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    wait = random.Random(3)
    reached = 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment)
        limit = time.monotonic() + PATIENCE_S
        while len(list(killed.glob("part-*"))) <= reached and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(wait.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        reached = len(list(killed.glob("part-*")))
        assert reached < rows // 10
    assert reached > 0
    again = run_catalogue(tmp_path / "s.h5", killed, config)
    assert again.made == rows - 10 * reached
    same(read_catalogue(killed), read_catalogue(whole))
    same(read_catalogue(killed / "_rejects"), read_catalogue(whole / "_rejects"))
    assert not list(killed.glob(".*"))


@pytest.mark.parametrize("ray", [None, "local"])
def test_two_processes_make_what_one_makes(packed, model, tmp_path, ray):
    path, _ = packed
    tables = []
    for workers, cluster in ((1, None), (2, ray)):
        out = tmp_path / f"{workers}.parquet"
        run_catalogue(path, out, CatalogueConfig(model=model, shard=16), workers=workers, ray=cluster)
        tables.append(read_catalogue(out))
    for name in tables[0].colnames:
        if name in ("id", "file", "flags"):
            assert list(tables[0][name]) == list(tables[1][name])
        else:  # with another number of threads sums may round otherwise
            np.testing.assert_allclose(np.asarray(tables[0][name]), np.asarray(tables[1][name]), rtol=1e-4, atol=1e-4)


def test_parallaxes_in_a_list(tmp_path):
    """Columns of luminosity, radius and mass are there where the list has a parallax; half a pair is a reject."""
    (tmp_path / "list.csv").write_text(
        "file,parallax,parallax_error,gmag,ebv,ebv_error\na.fits,27.3,0.1,5.12,0.02,0.01\nb.fits,27.3,0.1,,,\nc.fits,,,,,\n"
        "d.fits,near,,5,,\ne.fits,27.3,0.1,faint,,\n"
    )
    found = FileList(tmp_path / "list.csv")
    first, half, none, wrong, text = found
    assert first.luminosity == {"parallax": (27.3, 0.1), "gmag": 5.12, "ebv": (0.02, 0.01)}
    assert (half.luminosity, none.luminosity) == ({"parallax": (27.3, 0.1)}, {})
    assert wrong.error == "parallax 'near' is not a number"
    assert text.error == "gmag 'faint' is not a number"
    assert found.notes == ()
    names = [column.name for column in columns_of(("teff",), posterior=True, prepared=True, derived=True)]
    assert {"luminosity", "radius_err", "mass_lo", "teff_stat", "teff_sys"} <= set(names)


@pytest.mark.parametrize("ending", [".parquet", ".fits"])
def test_dates_have_64_bits(tmp_path, ending):
    """Single precision would round a date to a quarter of a day."""
    columns = columns_of(("teff",), posterior=False, prepared=True)
    table = empty(columns)
    for date in (2454203.908706, None):
        append(table, columns, {"id": "a", "file": "a", "row": 0, "flags": "", "bjd_tdb": date, "teff": 5772.1})
    write_part(tmp_path / f"part-0{ending}", columns, table, {})
    back = read_part(tmp_path / f"part-0{ending}")
    assert back["bjd_tdb"][0].to_value("d") == pytest.approx(2454203.908706, abs=1e-8)
    assert np.isnan(back["bjd_tdb"][1])
    assert back["teff"].dtype.itemsize == 4


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    for k, labels in enumerate((SUN, K_DWARF)):
        star = observe(labels, Instrument(44_000.0, 0.05), velocity_kms=20.0 * k, snr=60, seed=k)
        write(star, folder / f"star{k}.fits")
    (folder / "nothing.fits").write_bytes(b"")
    (folder / "picture.fits").write_bytes(b"\x89PNG and so on")
    return folder


def test_a_list_of_files(night, model, tmp_path, capsys):
    lines = (
        "file,id,resolution,velocity_kms,remark\n"
        "star0.fits,the Sun,44000,,bright\nstar1.fits,dwarf,44000,20,\nnothing.fits,none,44000,,\n"
        "absent.fits,gone,,,\nstar0.fits,odd,much,,\nstar1.fits,unresolved,nan,,\npicture.fits,png,,,\n"
    )
    (night / "list.csv").write_text(lines)
    out = tmp_path / "r.parquet"
    command = ("catalog", night / "list.csv", "--out", out, "--model", model, "--samples", 200)
    assert run(*command) == 2
    printed = capsys.readouterr()
    assert f"{out}: 2 spectra; 7 in " in printed.out
    assert "5 rejected" in printed.err
    assert "columns of list.csv that are not used: remark" in printed.err
    table = read_catalogue(out)
    assert list(table["id"]) == ["the Sun", "dwarf"]
    np.testing.assert_allclose(table["rv_kms"].to_value(u.km / u.s), [0, 20], atol=0.2)
    star = predict(read(night / "star0.fits", resolution=44_000.0), model, samples=200)
    assert table["teff"][0].value == pytest.approx(star.values["teff"], rel=1e-3)
    assert table["flags"][0] == ",".join(star.flags)
    reasons = {reject["id"]: reject["reason"] for reject in parts.each_reject(out)}
    assert reasons["none"].endswith("nothing.fits: empty file")
    assert reasons["gone"].endswith("absent.fits: does not exist")
    assert reasons["odd"] == "resolution 'much' is not a number"
    assert "its resolution is not in the file" in reasons["unresolved"]
    assert "a PNG picture" in reasons["png"]

    write(read(night / "star0.fits"), night / "absent.fits")
    assert run(*command) == 2  # rejects, as before
    assert "all of them there already" in capsys.readouterr().out
    assert run(*command, "--retry", "-R", 44_000) == 2  # another setting: refused
    assert "was begun with settings.resolution = None" in capsys.readouterr().err


def test_the_columns_of_a_list_say_how_its_files_are_read(tmp_path):
    (tmp_path / "list.csv").write_text(
        "file,medium,wavelength_unit,row,fibre,order,extension,ignore_sigma,velocity_kms\n"
        "a.fits,air,nm,3.0,A,--,SCI,yes,\nb.fits,vacuum,,,,,,,1400\nc.fits,,,2.5,,,,,\nd.fits,,,,,,,maybe,\n"
    )
    first, second, third, fourth = FileList(tmp_path / "list.csv")
    assert first.reading == {
        "medium": "air", "wavelength_unit": "nm", "row": 3, "fibre": "A", "extension": "SCI", "ignore_sigma": True
    }  # fmt: skip
    assert (first.velocity_kms, first.error, second.reading, second.velocity_kms) == (
        None,
        None,
        {"medium": "vacuum"},
        1400,
    )
    assert third.error == "row '2.5' is not a whole number"
    assert fourth.error == "ignore_sigma 'maybe' is neither true nor false"


def test_options_of_reading_hold_where_the_list_has_no_value(tmp_path, packed, model, capsys):
    """A folder of spectra in vacuum whose files do not say so; a column beats the option."""
    from maury.wavelengths import air_to_vacuum

    star = observe(SUN, Instrument(44_000.0, 0.05), snr=100, sigma=False)
    (tmp_path / "night").mkdir()
    for name in ("a.txt", "b.txt"):
        wave = star.orders[0].wavelength_aa
        np.savetxt(
            tmp_path / "night" / name, np.c_[air_to_vacuum(wave) if name == "a.txt" else wave, star.orders[0].flux]
        )
    options = ("-R", 44_000, "--model", model, "--no-refine", "--medium", "vacuum")
    assert run("catalog", tmp_path / "night", *options, "--out", tmp_path / "r.fits") == 0
    speeds = dict(zip(*(read_catalogue(tmp_path / "r.fits")[name] for name in ("id", "rv_kms")), strict=True))
    assert speeds["a.txt"].value == pytest.approx(0, abs=0.2)
    assert speeds["b.txt"].value < -80
    assert read_manifest(tmp_path / "r.fits")["settings"]["reading"] == {"medium": "vacuum"}
    (tmp_path / "list.csv").write_text("file,medium\nnight/a.txt,\nnight/b.txt,air\n")
    assert run("catalog", tmp_path / "list.csv", *options, "--out", tmp_path / "s.fits") == 0
    np.testing.assert_allclose(read_catalogue(tmp_path / "s.fits")["rv_kms"].value, 0, atol=0.2)
    assert run("catalog", tmp_path / "list.csv", *options, "--row", 2, "--out", tmp_path / "s.fits") == 2
    assert "was begun with settings.reading.row = None, now it is 2" in " ".join(capsys.readouterr().err.split())
    assert run("catalog", packed[0], *options[2:4], "--medium", "air", "--out", tmp_path / "t.fits") == 2
    assert "medium: for a list or a folder of files" in " ".join(capsys.readouterr().err.split())


def test_rejects_are_tried_again_once_their_cause_is_gone(night, tmp_path):
    (tmp_path / "list.csv").write_text(f"file,resolution\n{night / 'star0.fits'},44000\nlate.fits,44000\n")
    out, config = tmp_path / "r.fits", CatalogueConfig(model="starnet-spc", shard=1)
    assert run_catalogue(tmp_path / "list.csv", out, config).rejects == 1
    write(read(night / "star1.fits"), tmp_path / "late.fits")
    assert run_catalogue(tmp_path / "list.csv", out, config).made == 0
    again = run_catalogue(tmp_path / "list.csv", out, config, retry=True)
    assert (again.results, again.rejects, again.made) == (2, 0, 1)
    table = read_catalogue(out)
    assert "teff_err" not in table.colnames
    assert list(table["id"]) == [str(night / "star0.fits"), "late.fits"]
    assert not list((out / "_rejects").glob("part-*"))


def test_a_file_that_ends_its_process_is_rejected(tmp_path):
    columns = columns_of(("teff",), posterior=False, prepared=True)
    entries = [Entry(row, f"s{row}", f"{row}.fits", tmp_path) for row in range(5)]
    output = Output(tmp_path / "r.parquet", "parquet", (3, 2))

    def mapper(tasks):
        """Others first, the one that crashed last."""
        for row, (entry,) in sorted(tasks, key=lambda task: task[0] == 1):
            bad = SynthesisError("crashed with SIGSEGV")
            yield row, bad if row == 1 else FileResult({"teff": 5000.0 + entry.row, "flags": ""})

    counts = list(make_parts(entries, output, 3, set(), columns, {}, mapper))
    assert counts == [(1, 0)] * 4 + [(0, 1)]
    assert list(read_catalogue(output.folder)["row"]) == [0, 2, 3, 4]
    (reject,) = parts.each_reject(output.folder)
    assert (reject["id"], reject["reason"]) == ("s1", "crashed with SIGSEGV")
    assert [output.done(shard) for shard in (0, 1)] == [(2, 1), (2, 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx.fits\n", r"list\.csv: no column file; columns found: name"),
        ("file\n", r"list\.csv: no rows below the names of columns"),
        ("", r"list\.csv: no column file; columns found: none"),
        ("file,id\na,1\nb,2\nc,1\n", r"list\.csv: id '1' is not unique: row 1, row 3"),
        ("file\na\na\n", r"list\.csv: id 'a' is not unique"),
        ("file,id\na,1\nb,1\nc,2\nd,2\n", "2 ids occur more than once"),
        (b"file\n\xff\xfe\n", r"list\.csv: not a readable CSV list"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FormatError, match=message):
        FileList(path)


def test_no_list(tmp_path):
    with pytest.raises(FormatError, match="no such file or folder"):
        FileList(tmp_path / "list.csv")
    with pytest.raises(FormatError, match="holds no file"):
        FileList(tmp_path)


def test_lists_of_every_kind(tmp_path):
    from astropy.table import Table

    table = Table({"file": ["a b.fits", "c.fits"], "resolution": [1000.0, 2000.0], "id": ["1", "two words"]})
    table.write(tmp_path / "list.ecsv")
    entries = list(FileList(tmp_path / "list.ecsv"))
    assert [entry.id for entry in entries] == ["1", "two words"]
    assert [entry.reading for entry in entries] == [{"resolution": 1000.0}, {"resolution": 2000.0}]
    assert entries[0].path == tmp_path / "a b.fits"
    (tmp_path / "list.csv").write_text("\ufefffile,resolution\nx.fits\n,5\n")
    bad = list(FileList(tmp_path / "list.csv"))
    assert [entry.error for entry in bad] == [
        "the number of cells in this row differs from the number of columns",
        "no file named",
    ]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "y.fits").touch()
    (tmp_path / "sub" / ".hidden").touch()
    assert [entry.id for entry in FileList(tmp_path)] == ["list.csv", "list.ecsv", "sub/y.fits"]


def test_the_verb(packed, model, tmp_path, capsys):
    path, _ = packed
    out = tmp_path / "r.parquet"
    assert run("catalog", path, "--out", out, "--model", model) == 0
    assert f"{ROWS} spectra" in capsys.readouterr().out
    run_catalogue(path, tmp_path / "same.parquet", CatalogueConfig(model=model))
    same(read_catalogue(out), read_catalogue(tmp_path / "same.parquet"))
    for words in (("predict", "--catalog", path), ("predict", f"--catalog={path}"), ("catalogue", path)):
        assert run(*words, "--out", out, "--model", model) == 0
        printed = capsys.readouterr()
        assert "all of them there already" in printed.out
        assert ("maury predict --catalog is now maury catalog" in printed.err) == (words[0] == "predict")
    for arguments, message in (
        (("catalog", path), "Missing option '--out'"),
        (("catalog", path, "--out", out, "--json"), "No such option: --json"),
        (("catalog", path, "--out", out, "--resolution", "auto"), "Invalid value for '--resolution'"),
        (("predict", "x.fits", "--workers", 2), "No such option: --workers"),
        (("predict",), "Missing argument 'FILE...'"),
    ):
        assert run(*arguments, "--model", model) == 2
        assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def models_elsewhere(config, files):
    """Stands in for `maury.catalogue.prediction.models_of`: another file in each process."""
    return {f"network {config.model}": f"{os.getpid()}"}


def test_nodes_with_another_model_are_refused(ray_cluster, packed, model, tmp_path, monkeypatch):
    path, _ = packed
    monkeypatch.setattr(maury.catalogue.prediction, "models_of", models_elsewhere)
    with pytest.raises(
        ConfigError, match=r"node [\d.]+ of the cluster has network .* \d+, the driver \d+; all nodes need"
    ):
        run_catalogue(path, tmp_path / "a.parquet", CatalogueConfig(model=model), ray=ray_cluster.address)
    assert not list((tmp_path / "a.parquet").glob("part-*"))


def test_no_cluster_is_one_line_and_exit_code_2(packed, model, tmp_path, capsys):
    path, _ = packed
    code = run("catalog", path, "--model", model, "--out", tmp_path / "a.parquet", "--ray", "127.0.0.1:9")
    assert code == 2
    assert "error: Ray cluster 127.0.0.1:9: no connection" in capsys.readouterr().err.splitlines()[-1]


def test_texts_that_fits_cannot_hold_are_escaped(tmp_path):
    data = {"id": ["λ And", "b"], "file": ["ü.fits", "b"], "row": [0, 1], "reason": ["covers 3.0 Å of the window", "x"]}
    parts.write_part(tmp_path / "part-000000.fits", REJECTS, data, {})
    table = read_catalogue(tmp_path)
    assert list(table["id"]) == ["\\u03bb And", "b"]
    assert list(table["file"]) == ["\\xfc.fits", "b"]
    assert table["reason"][0] == "covers 3.0 Angstrom of the window"
