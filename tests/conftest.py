"""Fixtures for all tests."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from maury.app.worker import answer
from maury.threads import one_thread as on_one_thread
from tinygrids import write_tiny_grid

torch.set_num_threads(1)  # tests run in several processes
os.environ.setdefault("RAY_worker_niceness", "0")  # with Ray's 15 the tests beside it leave its processes nothing

SHARED = Path(__file__).parents[2] / "shared"


LONGEST = (
    "ray", "test_app_browser", "test_pages_commands", "synthesis", "test_app_page", "test_evaluation_refined",
    "test_two_stars", "test_packaged",
    "test_evaluation_report", "test_grids_import_road",
)  # fmt: skip
"""Groups that take longest: they start first, so that no process is left alone with one at the end."""

ONE_BY_ONE = ("test_benchmarks", "test_evaluation_refined")
"""Files whose tests have no fixtures in common: each test may run in another process."""

NEED_RAY = {"ray_head", "ray_cluster", "ray_tune", "tune_cluster"}
"""Fixtures, and benchmarks as parameters, that start a Ray cluster."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collection, and leave what was imported out of it.

    Imports make half a million objects that stay; a quarter of their time is a search for garbage among them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share tests out over processes by file, as fixtures are made once a file, Ray and `workers` once in all."""
    places = {}
    for item in items:
        uses = {*getattr(item, "fixturenames", ()), item.name.partition("[")[2].rstrip("]")}
        group = "ray" if NEED_RAY & uses else "synthesis" if "workers" in uses else item.path.stem
        places[item] = LONGEST.index(group) if group in LONGEST else len(LONGEST)
        if group not in ONE_BY_ONE:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=places.__getitem__)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to go on without groups: pytest-xdist 3.8 ignores them with pytest 9.2, and all takes twice as long."""
    grouped = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if getattr(session.config.option, "loadgroup", False) and any("@" not in item.nodeid for item in grouped):
        raise pytest.UsageError("tests are not grouped: this pytest-xdist does not go with this pytest")


@pytest.fixture
def shared() -> Path:
    """Folder of real data beside the checkout; a test that uses it carries the marker ``shared``."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the data in ../shared, beside the checkout")
    return SHARED


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks and spectra as small as those of a test only wait for a second thread."""
    with on_one_thread():
        yield


@pytest.fixture(scope="session")
def simulator() -> Any:
    """The packaged emulator with the usual errors; not to be changed."""
    from maury.emulator import load_cached
    from maury.simulation import Simulator

    return Simulator(load_cached())


@pytest.fixture(scope="session")
def coordinates(simulator: Any) -> Any:
    """The labels of `simulator` as coordinates."""
    from maury.likelihood import Coordinates

    return Coordinates(simulator)


@pytest.fixture(scope="session")
def workers() -> Iterator[Any]:
    """Two processes for syntheses: each loads PySME once."""
    from maury.synthesis import Workers

    with Workers(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of few pixels (`tinygrids`); not to be changed."""
    return write_tiny_grid(tmp_path_factory.mktemp("grid") / "tiny.h5")


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads are read in this process; `test_app_files` and `test_app_browser` read them in one with limits."""
    monkeypatch.setattr("maury.app.worker._run", lambda task, seconds: answer(task))
    monkeypatch.setattr("maury.app.worker._READY", [None])  # none is started in advance


@pytest.fixture
def unwritten_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a report are drawn, but not laid out or written: `test_pages_commands` writes some in all formats."""
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda engine, figure: None)
    monkeypatch.setattr("maury.evaluation.report.save_figure", lambda figure, stem: [])
    monkeypatch.setattr("maury.evaluation.report.figure_svg", lambda figure, name, title: f"<svg>{name}</svg>")


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Any]:
    """A Ray cluster on this machine whose one node has one processor; it soon notices that a node has died."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    )
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def ray_cluster(ray_head: Any) -> Iterator[Any]:
    """The cluster; what a test connects or adds to it is gone afterwards."""
    yield ray_head
    import ray

    ray.shutdown()
    for node in list(ray_head.worker_nodes):
        ray_head.remove_node(node, allow_graceful=False)
