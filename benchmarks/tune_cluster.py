"""A study over a Ray cluster of two nodes on this machine, one of which is killed during it: what became of each trial.

    OMP_NUM_THREADS=1 python benchmarks/tune_cluster.py --trials 12 --seconds 4

The grid is a small one of the packaged emulator's, the space that of the packaged study. `maury tune --ray` runs as a
process of its own; the second node's processes are killed (SIGKILL) after a third of the trials.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optuna import Study
from ray.cluster_utils import Cluster
from smoke import TINY_GRID, parse

from maury.config import PRESETS
from maury.emulator import PACKAGED, load
from maury.files import sha256, write_json
from maury.grids import GridConfig, build_grid, open_grid
from maury.search import load_study, open_study
from maury.search.study import finished


def main() -> None:
    """Build a grid, start a cluster, run the study, kill a node, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4.0, help="training time of a trial")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parse(parser, lambda folder: ["--trials", 2, "--seconds", 0.5, "--out", folder / "out.json"])
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(Path(temporary), arguments.trials, arguments.seconds, arguments.smoke)
    print(json.dumps(figures, indent=1))
    if arguments.out is not None:
        write_json(arguments.out, figures)


def on_cluster(command: list[str], study: Study, kill_after: int) -> tuple[int, int]:
    """Run the study on two nodes and kill one after so many trials; trials finished then, and the exit code."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    try:
        process = subprocess.Popen([*command, "--ray", cluster.address])
        while process.poll() is None and len(finished(study)) < kill_after:
            time.sleep(0.2)
        before = len(finished(study))
        cluster.remove_node(second, allow_graceful=False)
        return before, process.wait()
    finally:
        cluster.shutdown()


def measure(folder: Path, trials: int, seconds: float, smoke: bool) -> dict[str, object]:
    """Figures of one study."""
    grid = folder / "grid.h5"
    nodes = TINY_GRID if smoke else {"teff": (5000, 6000), "vsini": (0, 12)}
    build_grid(grid, load(), sha256(PACKAGED), GridConfig(**nodes))
    text = (PRESETS / "studies" / "founding.toml").read_text()
    settings = folder / "study.toml"
    top, space = text.split("[space]", 1)
    changed = ("seconds", "clock", "training", "validation", "trials")
    kept = [line for line in top.splitlines() if not line.startswith(changed)]
    new = [f"trials = {trials}", f"seconds = {seconds}", 'clock = "wall"']
    new += ["training = 32", "validation = 8"] if smoke else ["training = 1024", "validation = 256"]
    settings.write_text("\n".join([*kept, *new, "[space]"]) + space)
    config, digest, out = load_study(settings), open_grid(grid).digest, folder / "study"
    study = open_study(out, config, digest)
    command = [sys.executable, "-m", "maury", "tune", str(settings), "--grid", str(grid), "--out", str(out)]
    begun = time.monotonic()
    if smoke:
        before, code = 0, subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    else:
        before, code = on_cluster(command, study, trials // 3)
    rows = [
        {"trial": trial.number, "state": trial.state.name, "in_place_of": trial.user_attrs.get("again")}
        for trial in study.trials
    ]
    count = {state: sum(row["state"] == state for row in rows) for state in ("COMPLETE", "PRUNED", "FAIL")}
    return {
        "exit_code": code,
        "seconds": round(time.monotonic() - begun, 1),
        "trials_when_the_node_was_killed": before,
        "states": count,
        "every_trial_accounted_for": sum(count.values()) == len(rows)
        and count["COMPLETE"] + count["PRUNED"] == trials
        and {row["trial"] for row in rows if row["state"] == "FAIL"} == {row["in_place_of"] for row in rows} - {None},
        "table": rows,
    }


if __name__ == "__main__":
    main()
