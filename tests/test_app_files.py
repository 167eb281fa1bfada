"""Files that are uploaded: names made safe, read in a bounded process, texts shown as they are."""

import gzip
import io
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from astropy.io import fits

import observatory
from maury.app import worker
from maury.app.analysis import Settings, analyse, command
from maury.app.uploads import plain, safe_name
from maury.app.worker import read_bounded
from maury.errors import FormatError
from maury.readers import read
from maury.wavelengths import air_to_vacuum
from nights import SUN, Instrument, observe
from patience import PATIENCE_S


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("star.fits", "star.fits"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.fits", "a_b.fits"),
        ("/abs/olute.txt", "olute.txt"),
        ("..", "spectrum"),
        ("", "spectrum"),
        ("-rf.fits", "rf.fits"),
        (".hidden", "hidden"),
        ("<img src=x onerror=alert(1)>.fits", "_img_src_x_onerror_alert_1__.fits"),
        ("a;rm -r $HOME`x`.fits", "a_rm_-r__HOME_x_.fits"),
        ("null\0byte\n.fits", "null_byte_.fits"),
        ("HD 10700 ü.fits", "HD_10700_ü.fits"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe


def test_names_are_unique_and_short():
    names = []
    for _ in range(3):
        names.append(safe_name("star.fits.gz", names))
    assert names == ["star.fits.gz", "star-2.fits.gz", "star-3.fits.gz"]
    long = safe_name("x" * 500 + ".fits")
    assert len(long) <= 80
    assert long.endswith(".fits")


def test_plain_texts_have_no_markup():
    """Every mark that Markdown or HTML could take is escaped; the words stay."""
    text = "<b>*a*</b> [x](http://y) ![i](z) :red[c] $d$ `e` \\ ~f~\nnew # line"
    escaped = plain(text)
    assert "\n" not in escaped
    for mark in "<>*[]()!:$`~#":
        assert escaped.count(mark) == escaped.count("\\" + mark) == text.count(mark)
    assert escaped.replace("\\", "").split() == text.replace("\\", "").split()


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("make", [observatory.linear_fits, observatory.vacuum_log10, observatory.gzipped])
def test_what_comes_back_is_what_the_reader_gives(make, tmp_path):
    path = make(tmp_path).path
    expected = read(path)
    found = read_bounded(path.read_bytes(), path.name, {})
    assert len(found.orders) == len(expected.orders)
    for order, known in zip(found.orders, expected.orders, strict=True):
        for key in ("wavelength_aa", "flux", "mask"):
            np.testing.assert_array_equal(getattr(order, key), getattr(known, key))
        assert (order.frame, order.normalised, order.resolution) == (known.frame, known.normalised, known.resolution)
    assert found.barycentric_kms == expected.barycentric_kms
    assert found.provenance["rules"] == list(expected.provenance["rules"])
    assert found.provenance["file"] == path.name


def test_files_beside_and_hints_are_passed_on(tmp_path):
    wave = observatory.linear()
    flux, sigma = observatory.observe(wave)
    files = {}
    for name, values in (("wave", wave), ("sigma", sigma)):
        np.save(tmp_path / f"{name}.npy", values)
        files[name] = (f"{name}.npy", (tmp_path / f"{name}.npy").read_bytes())
    fits.PrimaryHDU(flux).writeto(tmp_path / "flux.fits")
    content = (tmp_path / "flux.fits").read_bytes()
    beside = {"wavelength_file": files["wave"], "sigma_file": files["sigma"]}
    found = read_bounded(content, "flux.fits", {"resolution": 50_000.0}, beside, PATIENCE_S)
    np.testing.assert_allclose(found.single().wavelength_aa, wave)
    np.testing.assert_allclose(found.single().sigma, sigma)
    assert found.resolution == 50_000.0
    short = "".join(f"{x} {x}\n" for x in range(5000, 5100)).encode()
    with pytest.raises(FormatError, match=r"^flux.fits: wavelength file wave.txt holds no array"):
        read_bounded(content, "flux.fits", {}, {"wavelength_file": ("wave.txt", short)}, PATIENCE_S)


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("star.fits", bytes(20_000_000))
    return stream.getvalue()


def many_extensions(count=5_000):
    blank = fits.ImageHDU(np.zeros(0)).header.tostring().encode()
    return gzip.compress(fits.PrimaryHDU().header.tostring().encode() + blank * count, 1)


def claims_too_much():
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 1, "NAXIS1": 10**11})
    return header.tostring().encode()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("bomb.fits", zip_bomb),
        ("many.fits.gz", many_extensions),
        ("lie.fits", claims_too_much),
        ("numpy.py", lambda: b"raise SystemExit(99)\n"),
    ],
)
def test_what_needs_limits_is_refused_by_name(name, make):
    with pytest.raises(FormatError, match=f"^{name}: ") as refusal:
        read_bounded(make(), name, {})
    assert "/" not in str(refusal.value).removeprefix(name)


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("bomb.zip", zip_bomb),
        ("page.html", lambda: b"<html><script>alert(1)</script></html>"),
        ("empty.fits", lambda: b""),
    ],
)
def test_what_is_no_spectrum_is_refused_by_name(name, make):
    with pytest.raises(FormatError, match=f"^{name}: ") as refusal:
        read_bounded(make(), name, {})
    assert "/" not in str(refusal.value).removeprefix(name)


@pytest.fixture(autouse=True)
def none_ready(monkeypatch):
    """No reading process that another test has started."""
    monkeypatch.setattr(worker, "_READY", [])


def test_a_process_that_is_ready_reads_one_file_and_ends(tmp_path):
    path = observatory.linear_fits(tmp_path).path
    worker.make_ready()
    worker.make_ready()
    (ready,) = worker._READY
    time.sleep(0.2)
    assert ready.poll() is None
    assert read_bounded(path.read_bytes(), path.name, {}, seconds=PATIENCE_S).single().flux.size
    assert ready.poll() == 0
    assert worker._READY == []
    worker.make_ready()
    (dead,) = worker._READY
    dead.kill()
    dead.wait()
    assert read_bounded(path.read_bytes(), path.name, {}, seconds=PATIENCE_S).single().flux.size
    worker.make_ready()
    (left,) = worker._READY
    left.communicate(b"", timeout=PATIENCE_S)  # as when the server has ended
    assert left.returncode == 0


def test_a_ready_process_that_takes_too_long_is_gone():
    worker.make_ready()
    (ready,) = worker._READY
    with pytest.raises(FormatError, match="not read within"):
        read_bounded(b"1 2\n", "star.fits", {}, seconds=0.01)
    assert ready.poll() is not None


def test_a_file_that_takes_too_long_is_given_up():
    with pytest.raises(FormatError, match=r"star.fits: not read within 0.05 s"):
        read_bounded(b"1 2\n", "star.fits", {}, seconds=0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of that kind")
def test_memory_and_output_of_the_reading_process_are_bounded():
    code = """
import json
from maury.app import worker
worker._limit()
import resource
kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
try:
    bytearray(worker.MEMORY_BYTES)
    died = False
except MemoryError:
    died = True
print(json.dumps([died, [resource.getrlimit(kind)[0] for kind in kinds]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    died, limits = json.loads(done.stdout)
    assert died
    assert limits[0] == worker.MEMORY_BYTES
    assert 0 < limits[1] <= worker.SECONDS
    assert limits[3] == 0


def test_a_process_that_dies_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FormatError, match=r"^star.fits: reading it needs too much memory or crashed"):
        read_bounded(b"1 2\n", "star.fits", {})


@pytest.mark.usefixtures("read_here")
def test_settings_of_the_reader_reach_it_and_the_command(tmp_path):
    """Vacuum wavelengths in nm in a file that says neither; a fault of the program is one line, not the page's end."""
    star = observe(SUN, Instrument(30_000.0, 0.1), velocity_kms=10.0, snr=60).single()
    np.savetxt(tmp_path / "a.txt", np.c_[air_to_vacuum(star.wavelength_aa) / 10, star.flux])
    content = (tmp_path / "a.txt").read_bytes()
    reading = (("medium", "vacuum"), ("wavelength_unit", "nm"), ("ignore_sigma", True))
    settings = Settings(30_000.0, reading=reading, velocity_range_kms=(-100.0, 100.0))
    outcome = analyse("a.txt", content, settings)
    assert outcome.error is None
    assert outcome.result.preparation.velocity_kms == pytest.approx(10.0, abs=0.3)
    line = command(["a.txt"], settings)
    assert "--velocity-range -100 100 --medium vacuum --wavelength-unit nm --ignore-sigma" in line
    assert "must be within -1500 to 1500" in analyse("a.txt", content, Settings(30_000.0, reading=reading,
        velocity_range_kms=(0.0, 2000.0))).error  # fmt: skip
    assert "field Row on the left" in analyse("a.txt", content, Settings(30_000.0, reading=(("row", 0),))).error
