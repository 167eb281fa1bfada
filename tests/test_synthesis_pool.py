"""Worker processes: crashes, hangs and errors cost one spectrum; retries; private homes; nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import synthesizers
from maury.errors import FormatError, SynthesisError
from maury.synthesis import Workers
from patience import PATIENCE_S

WAVELENGTH = np.linspace(5000.0, 5010.0, 50)


def star(teff):
    return None, np.array([teff, 4.0, 0.0, 1.0])


def run(pool, teffs, marks=None, timeout=PATIENCE_S):
    maker = (synthesizers.Slope, (WAVELENGTH, str(marks) if marks else None))
    return dict(pool.map(maker, [(i, star(teff)) for i, teff in enumerate(teffs)], timeout))


def test_each_failure_costs_one_spectrum_after_one_retry(tmp_path):
    teffs = [5000, 5001, 5010, 5003, 5004, 5005, 5020, 5006]
    with Workers(2) as pool:
        results = run(pool, teffs, tmp_path)
    assert sorted(results) == list(range(8))
    for i in (0, 2, 5, 6, 7):
        np.testing.assert_allclose(results[i], 0.5 + 1e-5 * (teffs[i] - 5000))
    assert isinstance(results[1], SynthesisError)
    assert str(results[1]) == "crashed with SIGSEGV"
    assert np.isnan(results[3]).all()
    assert str(results[4]) == "ArithmeticError: no convergence"
    counts = {teff: len((tmp_path / str(teff)).read_text()) for teff in teffs}
    assert counts == {5000: 1, 5001: 2, 5010: 1, 5003: 1, 5004: 2, 5005: 2, 5020: 1, 5006: 1}


def test_a_hang_is_ended():
    with Workers() as pool:
        hung = run(pool, [5002], timeout=1.5)  # it would answer after 60 s
        after = run(pool, [5010])
    assert str(hung[0]) == "no answer within 1.5 s"
    np.testing.assert_allclose(after[0], 0.5001)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (synthesizers.refuse, FormatError, "no such file of departure coefficients"),
        (synthesizers.crash, SynthesisError, "cannot be prepared: it crashed with SIGSEGV"),
    ],
)
def test_what_cannot_be_made_ends_everything(make, kind, message):
    with Workers() as pool, pytest.raises(kind, match=message):
        list(pool.map((make, ()), [(0, star(5000)), (1, star(5010))], PATIENCE_S))


def test_a_worker_lives_in_a_home_of_its_own_which_goes_with_it():
    with Workers() as pool:
        home = Path(pool.run(synthesizers.home))
        assert home.is_dir()
        assert home != Path.home()
    assert not home.parent.exists()


def test_processes_are_kept_between_calls_and_stopped_when_left_early():
    with Workers() as pool:
        maker = (synthesizers.Slope, (WAVELENGTH,))
        list(pool.map(maker, [(0, star(5000))], PATIENCE_S))
        first = pool.run(os.getpid)
        list(pool.map(maker, [(0, star(5010))], PATIENCE_S))
        assert pool.run(os.getpid) == first
        stream = pool.map(maker, [(0, star(5000)), (1, star(5002))], PATIENCE_S)
        next(stream)
        stream.close()
        assert pool.run(os.getpid) != first  # its process was stopped at 5002, not waited for


def test_workers_of_a_killed_parent_end_and_clean_up():
    code = (
        "import synthesizers\nfrom maury.synthesis import Workers\n"
        "p = Workers(); print(p.run(synthesizers.home), flush=True); input()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    home = parent.stdout.readline().strip()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    limit = time.monotonic() + PATIENCE_S
    while Path(home).parent.exists() and time.monotonic() < limit:
        time.sleep(0.1)
    assert not Path(home).parent.exists()
