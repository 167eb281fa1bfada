"""What Ray Tune (OptunaSearch and ASHA) leaves in a study's journal: after a whole run, and after a kill and a restore.

    OMP_NUM_THREADS=1 python benchmarks/ray_tune.py

A trial is a formula, not a training: its error after rungs 1, 3 and 9 falls from where its one parameter puts it. The
study has 24 of them, two at a time. The second study's driver is killed (SIGKILL) after 8 and restored.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from smoke import parse

RUNGS = (1, 3, 9)


def trainable(config: dict[str, float]) -> None:
    """Report the error at rungs; the parameter says how large it is."""
    from ray import tune

    for step in range(1, RUNGS[-1] + 1):
        time.sleep(0.05)
        tune.report({"error": (config["x"] - 0.3) ** 2 + 1 / step})


def study(folder: Path, trials: int) -> None:
    """Run the study in a folder, or restore it."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    place = str(folder / "tune")
    if tune.Tuner.can_restore(place):
        tuner = tune.Tuner.restore(place, trainable, restart_errored=True, resume_unfinished=True)
    else:
        search = OptunaSearch(
            {"x": optuna.distributions.FloatDistribution(0, 1)},
            metric="error",
            mode="min",
            sampler=optuna.samplers.TPESampler(seed=1),
            study_name="study",
            storage=storage(folder),
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                metric="error",
                mode="min",
                search_alg=search,
                scheduler=ASHAScheduler(max_t=RUNGS[-1], grace_period=1, reduction_factor=3),
                num_samples=trials,
                max_concurrent_trials=2,
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
        )
    ends = [result.metrics["training_iteration"] for result in tuner.fit() if result.metrics]
    (folder / "ends.json").write_text(json.dumps(ends))


def storage(folder: Path):
    """The journal of a study, as `maury tune` keeps it."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.storages.JournalStorage(backend)


def figures(folder: Path) -> dict[str, object]:
    """What Ray Tune says of a study, and what its journal says."""
    import optuna

    found = optuna.load_study(study_name="study", storage=storage(folder))
    ends = json.loads((folder / "ends.json").read_text()) if (folder / "ends.json").exists() else []
    return {
        "trials_of_ray_tune": len(ends),
        "stopped_by_asha": sum(end < RUNGS[-1] for end in ends),
        "states_in_journal": dict(Counter(trial.state.name for trial in found.trials)),
        "pruner_of_study": type(found.pruner).__name__,
    }


def main() -> None:
    """Run one study whole and one with a kill, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=24)
    arguments = parse(parser, lambda _: ["--trials", 2])
    if arguments.folder is not None:
        study(arguments.folder, arguments.trials)
        return
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = Path(temporary, "whole"), Path(temporary, "killed")
        for folder in (whole, killed):
            folder.mkdir()
        command = [sys.executable, __file__, "--trials", str(arguments.trials), "--folder"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*command, str(whole)], check=True, **quiet)
        if arguments.smoke:
            print(json.dumps({"whole": figures(whole)}, indent=1))
            return
        process = subprocess.Popen([*command, str(killed)], start_new_session=True, **quiet)
        journal = killed / "study.journal"
        while process.poll() is None and (not journal.exists() or journal.read_text().count('"op_code":6') < 8):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        again = subprocess.run([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        failure = next((line for line in again.stderr.splitlines() if line.startswith("optuna.exceptions")), "")
        restored = {"exit_code": again.returncode, "error": failure}
        print(json.dumps({"whole": figures(whole), "killed and restored": restored | figures(killed)}, indent=1))


if __name__ == "__main__":
    main()
