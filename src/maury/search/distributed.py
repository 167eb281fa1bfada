"""A study's trials as tasks of a Ray cluster: one process keeps the study, the others train and report to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maury.cluster import RETRIES, LostError, RayWorkers, Remote
from maury.errors import MauryError
from maury.grids import open_grid
from maury.memory import keep_freed_memory
from maury.search.space import StudyConfig, base_of
from maury.search.study import Done, conclude, fail, finished, judge, open_study, settings_of
from maury.search.trial import Outcome, run_trial, spectra_of
from maury.training.distributed import grid_of
from maury.training.recipes import TrainConfig

_MOST_LOST = 50
_ATTEMPT = "attempt"


class JournalActor:
    """Ray actor that owns a study and alone writes its journal, while trials run in other processes."""

    def __init__(self, folder: Path, config: StudyConfig, base: TrainConfig, grid_digest: str) -> None:
        self._study, self._config, self._base = open_study(folder, config, grid_digest), config, base
        self._trials: dict[int, tuple[Any, TrainConfig]] = {}

    def needs_trial(self) -> bool:
        """Whether another trial must be started: fewer are finished or running than the study asks for."""
        return len(finished(self._study)) + len(self._trials) < self._config.trials

    def ask(self) -> tuple[int, TrainConfig]:
        """Number and settings of a new trial."""
        trial = self._study.ask()
        self._trials[trial.number] = trial, settings_of(trial, self._config, self._base)
        return trial.number, self._trials[trial.number][1]

    def report(self, number: int, rung: int, error: float) -> bool:
        """Note the error of a trial at a rung; returns whether it is to stop."""
        return judge(self._trials[number][0], self._config, rung, error)

    def conclude(self, number: int, outcome: Outcome) -> str:
        """Note the end of a trial; returns its state."""
        trial, settings = self._trials.pop(number)
        return conclude(self._study, trial, settings, outcome)

    def record_lost(self, number: int) -> str:
        """Note that the process of a trial died; its configuration is queued again, up to three times."""
        trial, _ = self._trials.pop(number)
        attempt = trial.user_attrs.get(_ATTEMPT, 0) + 1
        trial.set_user_attr(_ATTEMPT, attempt)
        fail(self._study, trial, again=attempt <= RETRIES)
        return "lost"


class Trainer:
    """Trains one configuration after the other on a node; reads the grid's spectra once."""

    def __init__(self, grid: Path, config: StudyConfig, base: TrainConfig) -> None:
        keep_freed_memory()
        self._config, self._spectra = config, spectra_of(open_grid(grid), config, base)

    def __call__(self, number: int, settings: TrainConfig, journal: Remote) -> Outcome:
        """Train until the end, or until the journal stops it."""
        report = lambda rung, error: bool(journal.call("report", number, rung, error))  # noqa: E731
        return run_trial(self._config, settings, self._spectra, report)


def run_on_cluster(
    folder: Path, grid: Path, config: StudyConfig, cluster: RayWorkers, done: Done | None = None
) -> None:
    """Try the configurations of a study on a cluster; a study in the folder resumes.

    A trial whose process or node dies counts as failed, and its configuration is tried again, up to three times; the
    same holds after the driver was killed. Each attempt is a trial of its own in the journal. The file ``grid`` has the
    same path on all nodes; ``done`` is called with number, state ("complete", "pruned" or "lost") and error of each
    trial.

    Raises:
        LostError: many processes died, one after the other.
        VersionMismatchError: a node has another grid under that name.
        MauryError: raised by a trial.
    """
    folder, grid, base = folder.absolute(), grid.absolute(), base_of(config)
    cluster.require_same(grid_of, grid)
    journal = cluster.remote_object((JournalActor, (folder, config, base, open_grid(grid).digest)))
    lost, most = 0, max(_MOST_LOST, 3 * cluster.count)

    def tasks() -> Iterator[tuple[int, tuple[Any, ...]]]:
        while journal.call("needs_trial"):
            number, settings = journal.call("ask")
            yield number, (number, settings, journal)

    longest = 20 * config.seconds + 1800  # with reading, validation and a wait for a process
    while journal.call("needs_trial"):
        for number, result in cluster.map((Trainer, (grid, config, base)), tasks(), longest, retries=0):
            lost = lost + 1 if isinstance(result, LostError) else 0
            if lost > most:
                raise LostError(f"the processes of {lost} trials in a row died; the last: {result}")
            if isinstance(result, MauryError) and not isinstance(result, LostError):
                raise result
            state = journal.call("record_lost", number) if lost else journal.call("conclude", number, result)
            if done is not None:
                done(number, state, None if lost else result.error)
