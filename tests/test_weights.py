"""What the repository weighs: no large file but the models, small figures, none twice."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_above_a_megabyte_but_the_models(tracked):
    large = [str(p.relative_to(ROOT)) for p in tracked if p.stat().st_size > 1_000_000 and p.suffix != ".safetensors"]
    assert large == []
    assert all(p.stat().st_size < 20_000_000 for p in tracked)


def test_figures_of_the_documentation_are_small_and_there_once(tracked):
    figures = [path for path in tracked if path.is_relative_to(ROOT / "docs")]
    large = [path.name for path in figures if path.suffix == ".png" and path.stat().st_size > 300_000]
    assert large == []
    assert [path.name for path in figures if path.suffix == ".pdf"] == []
