"""What users call: what stands at the top, priors in any form, tables and figures of a result."""

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
from astropy import units as u

import maury
from maury.errors import ConfigError
from maury.likelihood.priors import LabelPrior, as_priors, parse_prior
from verbs import run


def test_everything_at_the_top_is_what_it_is_called():
    for name in maury.__all__:
        thing = getattr(maury, name)
        assert name == "__version__" or thing.__name__ == name
        assert name in dir(maury)
    assert resources.files("maury").joinpath("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        _ = maury.guess


def test_importing_maury_imports_nothing_heavy():
    code = "import maury, sys; sys.exit(int(any(m in sys.modules for m in ('torch', 'numpy', 'astropy'))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "given",
    [
        {"logg": (4.29, 0.03)},
        {"logg": "4.29+-0.03"},
        {"logg": (4.29, 0.03, 0.03)},
        {"logg": (4.29 * u.Unit("dex(cm/s2)"), 0.03 * u.dex)},
        {"logg": (4.29 * u.dex, 0.03)},
        ["logg=4.29+-0.03"],
        [parse_prior("logg=4.29+-0.03")],
    ],
)
def test_a_prior_in_any_form_is_the_same(given):
    (prior,) = as_priors(given)
    assert isinstance(prior, LabelPrior)
    assert (prior.label, prior.value, prior.below, prior.above) == pytest.approx(("logg", 4.29, 0.03, 0.03))


def test_priors_with_units_and_two_sides():
    teff, mg = as_priors({"teff": (5.8 * u.kK, 80, 50 * u.K), "mg_fe": "0.1..0.3"})
    assert (teff.value, teff.below, teff.above) == pytest.approx((5800, 80, 50))
    assert (mg.label, mg.uniform) == ("mg", True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"height": (1, 2)}, "prior height=.*for one of the labels teff, logg"),
        ({"logg": (4.3,)}, "a value and its standard deviation"),
        ({"teff": (5800 * u.km, 50)}, "numbers in K are needed"),
        ({"logg": ("x", 0.1)}, "numbers in dex"),
        ({"logg": (4.3, float("nan"))}, "prior 'logg=4.3"),
        ({"logg": (4.3, -0.1)}, "prior 'logg=4.3"),
    ],
)
def test_priors_that_cannot_be_used(given, message):
    with pytest.raises(ConfigError, match=message):
        as_priors(given)


@pytest.mark.parametrize("given", [np.ones(9), 5, None, {"flux": 1}])
def test_what_is_no_spectrum_is_refused(given):
    with pytest.raises(ConfigError, match="not a spectrum; give a file"):
        maury.predict(given, refine=False)


def test_a_result_as_tables_and_figure(tmp_path):
    file = tmp_path / "star.ecsv"
    star = ["--teff", "5900", "--logg", "4.3", "--mh", "-0.2", "--snr", "60"]
    assert run("emulator", "star", *star, "--out", file) == 0
    fit = maury.predict(maury.read(file), priors={"logg": (4.3, 0.03)}, systematics=False)
    assert fit.samples.colnames == list(fit.values)
    assert fit.samples["teff"].unit == u.K
    assert len(fit.samples) == 4000
    assert np.median(fit.samples["teff"].value) == pytest.approx(fit.values["teff"])
    assert len(fit.table) == 1
    printed = str(fit).splitlines()
    assert printed[0] == f"{file} (model default)"
    assert f"  teff   {fit.summary['teff']}" in printed
    assert printed[-1].startswith("  flags  ")
    assert fit.table["logg"][0].value == pytest.approx(fit.values["logg"])
    assert abs(fit.values["teff"] - 5900) < 40
    figure = fit.plot()
    assert len(figure.axes) == 6
