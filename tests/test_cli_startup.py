"""A quick start of verbs that import much."""

import subprocess
import sys

from patience import PATIENCE_S

SCRIPT = """
import gc, sys
from maury.cli.startup import imports

assert "torch" not in sys.modules
try:
    with imports():
        assert not gc.isenabled()
        raise KeyError
except KeyError:
    assert gc.isenabled() and not gc.get_freeze_count()
with imports():
    import torch
assert gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 100_000, frozen
with imports():  # torch is there: some other program's process, whose garbage is not ours to keep
    assert gc.isenabled()
    more = [[] for _ in range(10)]
assert gc.get_freeze_count() <= frozen
"""


def test_garbage_collection_pauses_for_imports_and_what_they_brought_is_left_out_of_it():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
