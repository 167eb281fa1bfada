"""The web page, run without a browser: uploads, settings, literature, posterior, sandbox, texts of files."""

import io
import itertools
import shlex
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import maury.app
from maury import doctor
from maury.app import analysis, serve, star
from maury.app.analysis import Settings, command
from maury.app.charts import fit_chart
from maury.app.uploads import plain
from maury.cli.app import main
from maury.errors import ConfigError
from maury.inference import Posterior, predict
from maury.readers import write
from nights import observe
from patience import PATIENCE_S

testing = pytest.importorskip("streamlit.testing.v1", reason="needs the extra app")

pytestmark = pytest.mark.usefixtures("read_here")

PAGE = Path(maury.app.__file__).with_name("page.py")
SCRIPT = "<script>alert('x')</script> **bold** [link](http://a.b)"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A star's spectrum as ECSV, FITS with markup in its header, and text; by name, the bytes."""
    folder = tmp_path_factory.mktemp("files")
    spectrum = doctor.simulated_star().single()
    write(spectrum, folder / "star.ecsv")
    np.savetxt(folder / "star.txt", np.c_[spectrum.wavelength_aa, spectrum.flux, spectrum.sigma])
    step = spectrum.wavelength_aa[1] - spectrum.wavelength_aa[0]
    header = fits.Header({"CRVAL1": spectrum.wavelength_aa[0], "CDELT1": step, "CRPIX1": 1.0, "OBJECT": SCRIPT})
    fits.PrimaryHDU(spectrum.flux, header).writeto(folder / "star.fits")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def founding(monkeypatch):
    """The page with the founding network, which is faster and gives point estimates."""
    monkeypatch.setattr(analysis, "DEFAULT_MODEL", "starnet-spc")


def page():
    return testing.AppTest.from_file(str(PAGE), default_timeout=PATIENCE_S)


def dropped(uploads, **state):
    """The page after files were dropped."""
    app = page()
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    app.file_uploader(key="spectra").set_value([(name, content, "") for name, content in uploads])
    app.run()
    assert not app.exception
    return app


def metrics(app):
    return {metric.label.partition(" (")[0]: metric.value for metric in app.metric}


def test_three_formats_and_a_wrong_file(founding, files):
    """Each gives the star's temperature; what is no spectrum is told by name and stops nothing."""
    app = dropped([*files.items(), ("notes.txt", b"no numbers here")], resolution=60_000.0)
    rows = app.dataframe[0].value
    assert sorted(rows["file"]) == ["notes.txt", "star.ecsv", "star.fits", "star.txt"]
    found = dict(zip(rows["file"], rows["Teff (K)"], strict=True))
    for name in files:
        assert float(found[name].split()[0]) == pytest.approx(doctor.STAR["teff"], abs=200)
    app.selectbox(key="star").set_value("notes.txt").run()
    assert not app.exception
    assert len(app.error) == 1
    assert app.error[0].value.startswith(plain("notes.txt: text without"))
    assert not app.metric


def test_two_files_of_one_name_stay_apart(founding, files):
    app = dropped([("star.ecsv", files["star.ecsv"]), ("star.ecsv", files["star.ecsv"])])
    assert list(app.dataframe[0].value["file"]) == ["star.ecsv", "star-2.ecsv"]


def test_the_resolution_is_asked_for_and_changes_the_answer(founding, files):
    app = dropped([("star.txt", files["star.txt"])])
    assert plain("(field Resolution on the left)") in app.error[0].value
    values = []
    for resolution in (60_000.0, 25_000.0):
        app.number_input(key="resolution").set_value(resolution).run()
        assert not app.error
        values.append(metrics(app)["v sin i"])
    assert values[0] != values[1]


def test_texts_of_the_file_are_shown_as_they_are(founding, files):
    """Markup in a header value reaches the page escaped, and nothing is drawn from it."""
    app = dropped([("star.fits", files["star.fits"])], resolution=60_000.0, view="File")
    table = app.table[0].value
    assert plain(SCRIPT) in table.to_string(max_colwidth=None)
    assert "<script>" not in table.to_string(max_colwidth=None)
    assert not any("script" in element.value for element in app.markdown)


def test_the_command_gives_the_same_numbers(founding, files, tmp_path, monkeypatch, capsys):
    """What the page says to type prints what the page shows."""
    app = dropped([("star.txt", files["star.txt"])], resolution=60_000.0, velocity=20.0, view="Download")
    words = shlex.split(app.code[0].value)
    assert words[:3] == ["maury", "predict", "star.txt"]
    (tmp_path / "star.txt").write_bytes(files["star.txt"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*words[1:], "--out", "table.ecsv"])
    assert stop.value.code == 0
    row = QTable.read("table.ecsv")[0]
    assert metrics(app)["Teff"].split()[0] == f"{row['teff'].value:.0f}"
    assert metrics(app)["log g"].split()[0] == f"{row['logg'].value:.2f}"


def test_names_in_commands_are_quoted():
    star = Settings(parallax=(27.3, 0.1), gmag=5.12, ebv=(0.02, 0.01))
    assert command(["a.fits"], star).endswith("--parallax 27.3+-0.1 --gmag 5.12 --ebv 0.02+-0.01")
    assert command(["a.fits"], Settings(components=2)).endswith("--components 2")
    text = command(["a b.fits"], Settings(44_000.0, velocity_kms=-3.5, wavelength_file=("w.fits", b"")))
    assert shlex.split(text)[2] == "a b.fits"
    assert "--resolution 44000 --velocity -3.5 --wavelength-file w.fits" in text


def test_what_is_known_from_elsewhere_moves_the_posterior(files):
    """A value of log g narrows log g, moves Teff with it, and stands in the command."""
    app = dropped([("star.ecsv", files["star.ecsv"])])
    wide = metrics(app)
    app.number_input(key="prior_logg").set_value(4.70)
    app.number_input(key="prior_logg_error").set_value(0.02)
    app.session_state["view"] = "Download"
    app.run()
    assert not app.exception
    narrow = metrics(app)
    values, errors = zip(*(map(float, text["log g"].split(" ± ")) for text in (wide, narrow)), strict=True)
    assert errors[1] < 0.7 * errors[0]
    assert abs(values[1] - 4.70) < abs(values[0] - 4.70)
    assert "--prior logg=4.7+-0.02" in app.code[0].value
    app.session_state["view"] = "Posterior"
    app.run()
    assert not app.exception


def test_masks_move_the_posterior_and_are_shaded(files):
    """Nonsense in a line moves Teff; masked it does not, and the mask is in the chart and the command."""
    spectrum = doctor.simulated_star().single()
    spoiled = (abs(spectrum.wavelength_aa - 5170.8) < 4) | (abs(spectrum.wavelength_aa - 5183.9) < 0.9)
    spectrum.flux[spoiled] *= np.random.default_rng(2).uniform(0.3, 1.0, spoiled.sum())
    text = io.StringIO()
    np.savetxt(text, np.c_[spectrum.wavelength_aa, spectrum.flux, spectrum.sigma])
    app = dropped([("star.txt", text.getvalue().encode())], resolution=60_000.0)
    before = float(metrics(app)["Teff"].split()[0])
    app.text_input(key="mask").set_value("5166–5175; 5182-5185").run()
    assert not app.exception
    after = float(metrics(app)["Teff"].split()[0])
    assert abs(after - doctor.STAR["teff"]) < 25
    assert abs(before - after) > 25
    assert any("Shaded: masked, 5166-5175, 5182-5185 Å" in c.value.replace("\\", "") for c in app.caption)
    app.session_state["view"] = "Download"
    app.run()
    assert not app.exception
    assert app.code[0].value.endswith("--mask 5166-5175 --mask 5182-5185")
    app.text_input(key="mask").set_value("5185-5182").run()
    assert "the lower first" in app.error[0].value


def test_masks_are_shaded():
    wave = np.linspace(5050, 5350, 500)
    chart = fit_chart(wave, np.ones(500), np.ones(500, bool), None, ((5100.0, 5101.0), (5200.0, 5203.0)))
    assert {(shape.x0, shape.x1) for shape in chart.layout.shapes} == {(5100.0, 5101.0), (5200.0, 5203.0)}


def test_abundances_and_the_width_of_the_lines(files):
    app = dropped([("star.txt", files["star.txt"])], labels="abundances", auto=True)
    assert any("Mg/Fe" in caption.value.replace("\\", "") for caption in app.caption)
    assert any("R was estimated from the lines" in text.value for text in [*app.warning, *app.info])


@pytest.fixture(scope="module")
def exposures():
    """Two exposures of one star, as text files."""
    found = []
    for seed, snr in enumerate((50.0, 70.0)):
        star = observe(doctor.STAR, velocity_kms=12.0, snr=snr, seed=seed).single()
        text = io.StringIO()
        np.savetxt(text, np.c_[star.wavelength_aa, star.flux, star.sigma])
        found.append((f"night{seed}.txt", text.getvalue().encode()))
    return found


def test_exposures_of_one_star_are_one_result(exposures):
    """One star for all files; a file that is no spectrum or comes twice is left out by name."""
    files = [*exposures, ("notes.txt", b"no numbers here"), ("again.txt", exposures[0][1])]
    app = dropped(files, resolution=60_000.0, together=True, view="Exposures")
    assert not app.error
    rows = app.dataframe[0].value
    assert list(rows["file"]) == ["night0.txt", "night1.txt", "notes.txt", "again.txt"]
    assert list(rows["status"][:2]) == ["ok", "ok"]
    assert "text without" in rows["status"][2]
    assert "same content" in rows["status"][3]
    assert float(rows["velocity (km/s)"][0]) == pytest.approx(12, abs=0.3)
    assert any("xposure" in text.value for text in [*app.warning, *app.info])
    app.session_state["view"] = "Download"
    app.run()
    assert not app.exception
    assert shlex.split(app.code[0].value)[2:7] == ["night0.txt", "night1.txt", "notes.txt", "again.txt", "--together"]
    app.session_state["view"] = "Preparation"
    app.run()
    assert app.selectbox(key="exposure").options == ["night0.txt", "night1.txt"]


def test_exposures_none_of_which_can_be_read_are_an_error():
    app = dropped([("a.txt", b"no numbers"), ("b.txt", b"none here")], together=True)
    assert "a.txt: text without" in app.error[0].value.replace("\\", "")
    assert not app.metric


def test_a_parallax_gives_radius_luminosity_and_mass(files):
    """With G; alone it is refused with the field's name."""
    app = dropped([("star.ecsv", files["star.ecsv"])], parallax=50.0)
    assert "gmag" in app.error[0].value
    app.number_input(key="gmag").set_value(5.9).run()
    assert not app.error
    assert not app.exception
    found = {name: float(value.split()[0]) for name, value in metrics(app).items() if name[0].islower()}
    radius = found["luminosity"] ** 0.5 * (5772 / float(metrics(app)["Teff"].split()[0])) ** 2
    assert found["radius"] == pytest.approx(radius, rel=0.02)
    assert 0.5 < found["mass"] < 2
    app.number_input(key="parallax").set_value(-3.0).run()
    assert "at least 5 times its error" in app.error[0].value
    assert plain("(field Parallax (mas) on the left)") in app.error[0].value


@pytest.fixture
def with_posterior(monkeypatch):
    """The page with a network that gives a posterior: normal about the star's labels."""
    names, width = ("teff", "logg", "mh", "vsini"), np.array([40.0, 0.08, 0.04, 0.5])
    generator = np.random.default_rng(1)
    samples = np.array([doctor.STAR[name] for name in names]) + width * generator.standard_normal((2000, 4))

    def fake(observation, model, **settings):
        from dataclasses import replace

        result = predict(observation, "starnet-spc", velocity_kms=settings.get("velocity_kms"))
        none = np.full(len(names), np.nan)
        posterior = Posterior(names, samples, result.resolution, ("edge_logg",), none, none)
        values = dict(zip(names, posterior.median.tolist(), strict=True))
        return replace(result, values=values, posterior=posterior, flags=posterior.flags)

    monkeypatch.setattr(analysis, "predict", fake)
    return samples


def test_a_posterior_with_errors_flags_and_literature(files, with_posterior):
    app = dropped([("star.ecsv", files["star.ecsv"])], view="Posterior")
    low, median, high = np.quantile(with_posterior[:, 0], [0.1587, 0.5, 0.8413])
    assert metrics(app)["Teff"] == f"{median:.0f} ± {(high - low) / 2:.0f}"
    assert app.warning[0].value.startswith("Surface gravity")
    assert not app.table
    app.number_input(key="literature_teff").set_value(median + 100)
    app.number_input(key="literature_teff_error").set_value(30.0)
    app.run()
    assert not app.exception
    row = app.table[0].value.iloc[0]
    assert row["label"] == "Teff"
    assert float(row["in standard deviations"].replace("\\", "")) == pytest.approx(
        -100 / np.hypot(30, (high - low) / 2), abs=0.06
    )


def test_downloads_hold_what_is_shown(files, with_posterior, tmp_path):
    import h5py

    outcome = analysis.analyse("star.ecsv", files["star.ecsv"], Settings())
    table = tmp_path / "t.ecsv"
    table.write_bytes(star.table_bytes([outcome.result], ".ecsv"))
    assert QTable.read(table)["teff"][0].value == pytest.approx(outcome.result.values["teff"])
    samples = tmp_path / "s.h5"
    samples.write_bytes(star.written(lambda path: star.write_samples([outcome.result], path), ".h5"))
    with h5py.File(samples) as file:
        np.testing.assert_allclose(file["samples"][0], with_posterior, rtol=1e-6)
    assert star._drawn(outcome.result, outcome.model, "pdf").startswith(b"%PDF")


def test_numbers_have_no_negative_zero():
    assert [star.number("mh", value) for value in (-0.004, -0.006, 0.004)] == ["0.00", "-0.01", "0.00"]


def test_the_sandbox_follows_its_sliders(founding):
    """Rotation washes out the lines; where there are no atmospheres it says so; sliders stay when out of sight."""
    from maury.app import sandbox

    wavelength, slow = sandbox.spectrum({**sandbox.SUN}, 60_000.0)
    _, fast = sandbox.spectrum({**sandbox.SUN, "vsini": 100.0}, 60_000.0)
    assert fast.std() < 0.6 * slow.std()
    assert (wavelength[0], wavelength[-1]) == pytest.approx((5050.5, 5349.5), abs=0.1)
    app = page()
    app.session_state["page"] = "Sandbox"
    app.run()
    assert not app.exception
    assert not app.warning
    app.slider(key="sandbox_teff").set_value(9000.0)
    app.slider(key="sandbox_logg").set_value(0.5).run()
    assert "log g starts at 1.50" in app.warning[0].value
    app.session_state["page"] = "Stars"
    app.run()
    assert app.slider(key="sandbox_teff").value == 9000.0


class TestServer:
    def test_it_is_for_this_machine_alone(self):
        words = serve.arguments(9000, browser=False)
        options = dict(itertools.pairwise(words))
        assert options["--server.address"] == "127.0.0.1"
        assert options["--server.maxUploadSize"] == "100"
        assert options["--browser.gatherUsageStats"] == "false"
        assert options["--server.headless"] == "true"
        assert "-P" in words
        assert [b for a, b in itertools.pairwise(words) if a == "--server.allowedHosts"] == ["127.0.0.1", "localhost"]

    def test_threads_that_wait_sleep(self, monkeypatch):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        assert serve.environment()["OMP_WAIT_POLICY"] == "passive"
        monkeypatch.setenv("OMP_WAIT_POLICY", "active")
        assert serve.environment()["OMP_WAIT_POLICY"] == "active"

    def test_a_missing_extra_says_what_to_install(self, monkeypatch, capsys):
        monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"pip install 'maury\[app\]'"):
            serve.require_streamlit()
        with pytest.raises(SystemExit) as stop:
            main(["app", "--no-browser"])
        assert stop.value.code == 2
        assert "pip install 'maury[app]'" in capsys.readouterr().err
