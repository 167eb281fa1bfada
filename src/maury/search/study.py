"""A study in a folder: Optuna's sampler and pruner, and a journal from which an interrupted study resumes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maury.config import save_config
from maury.errors import ConfigError
from maury.files import check_writable
from maury.networks import layer_table
from maury.search.space import Choice, StudyConfig, base_of, configure
from maury.search.trial import Outcome, run_trial
from maury.training.grid_source import Spectra
from maury.training.recipes import TrainConfig

JOURNAL, BEST, SETTINGS = "study.journal", "best.toml", "study.toml"

BASELINE = "baseline"
"""Attribute of the trial of the base settings."""

_FEWEST = 10
_STALE_S = 3  # after which a lock on the journal is assumed to be left by a killed process

Done = Callable[[int, str, float | None], None]


def open_study(folder: Path, config: StudyConfig, grid_digest: str) -> Any:
    """Open the study in a folder, or create it; trials that were interrupted are queued again.

    Args:
        folder: the folder; it is made.
        config: settings.
        grid_digest: SHA-256 of the grid.

    Returns:
        The `optuna.Study`.

    Raises:
        ConfigError: Optuna is missing, or the folder holds another study.
        OutputError: it cannot be written.
    """
    optuna = _optuna()
    check_writable(folder / SETTINGS)
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / JOURNAL)
    lock = optuna.storages.journal.JournalFileSymlinkLock(path, grace_period=_STALE_S)
    backend = optuna.storages.journal.JournalFileBackend(path, lock_obj=lock)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=config.name,
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=config.reduction),
    )
    known = {"settings": json.loads(config.model_dump_json(exclude={"trials"})), "grid": grid_digest}
    if "known" in study.user_attrs:
        _require_same(folder, study.user_attrs["known"], known)
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            fail(study, trial)
    else:
        study.set_user_attr("known", known)
        study.enqueue_trial({}, user_attrs={BASELINE: True})
    # another seed after each resume, as the same one would draw the first configurations again
    study.sampler = optuna.samplers.TPESampler(
        seed=config.seed + len(study.trials), multivariate=True, constant_liar=True
    )
    save_config(folder / SETTINGS, config)
    return study


def _require_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for key in now["settings"]:
        if before["settings"].get(key) != now["settings"][key]:
            raise ConfigError(
                f"{folder}: holds a study with {key} = {before['settings'].get(key)!r}, now it is "
                f"{now['settings'][key]!r}; name another folder",
                parameter="folder",
            )
    if before["grid"] != now["grid"]:
        raise ConfigError(f"{folder}: holds a study on another grid; name another folder", parameter="folder")


def fail(study: Any, trial: Any, again: bool = True) -> None:
    """Mark a trial as failed, and queue its configuration once more."""
    study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
    if again:
        study.enqueue_trial(trial.params, user_attrs={**trial.user_attrs, "again": trial.number})


def finished(study: Any) -> list[Any]:
    """Completed and early-stopped trials, by number."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def run_study(study: Any, config: StudyConfig, spectra: Spectra, done: Done | None = None) -> None:
    """Try configurations until the study has ``config.trials``.

    Args:
        study: from `open_study`.
        config: settings.
        spectra: to train on and to validate with.
        done: called with number, state and error of each trial.
    """
    base = base_of(config)
    while len(finished(study)) < config.trials:
        trial = study.ask()
        settings = settings_of(trial, config, base)
        outcome = run_trial(config, settings, spectra, lambda rung, error: judge(trial, config, rung, error))  # noqa: B023
        state = conclude(study, trial, settings, outcome)
        if done is not None:
            done(trial.number, state, outcome.error)


def settings_of(trial: Any, config: StudyConfig, base: TrainConfig) -> TrainConfig:
    """Settings of a trial: the base settings (first trial), or these with values from the sampler."""
    settings = base if trial.user_attrs.get(BASELINE) else configure(base, suggest(trial, config))
    return settings.model_copy(update={"seed": config.seed})


def judge(trial: Any, config: StudyConfig, rung: int, error: float) -> bool:
    """Record the error of a trial at a rung; return whether the trial must stop."""
    trial.report(error, config.reduction ** (rung - 1))
    return not trial.user_attrs.get(BASELINE) and rung < config.rungs and bool(trial.should_prune())


def conclude(study: Any, trial: Any, settings: TrainConfig, outcome: Outcome) -> str:
    """Record the end of a trial; return its state in lower case."""
    states = _optuna().trial.TrialState
    trial.set_user_attr("steps", outcome.steps)
    trial.set_user_attr("weights", sum(layer.weights for layer in layer_table(settings.network)))
    state = states.PRUNED if outcome.stopped else states.COMPLETE
    study.tell(trial, None if outcome.stopped else outcome.error, state=state)
    return str(state.name.lower())


def suggest(trial: Any, config: StudyConfig) -> dict[str, Any]:
    """Values of a trial, by setting."""
    values: dict[str, Any] = {}
    for name, part in config.space.items():
        if isinstance(part, Choice):
            texts = [json.dumps(value) for value in part.choices]
            values[name] = json.loads(trial.suggest_categorical(name, texts))
        elif part.integer:
            values[name] = trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
        else:
            values[name] = trial.suggest_float(name, part.low, part.high, log=part.log)
    return values


def best_settings(study: Any, config: StudyConfig) -> tuple[Any, TrainConfig]:
    """The trial with the lowest error of those trained to the end, and its settings.

    Raises:
        ConfigError: no trial was trained to the end.
    """
    whole = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not whole:
        raise ConfigError(f"{config.name}: no trial was trained to the end")
    best = min(whole, key=lambda trial: trial.value)
    values = {name: json.loads(value) if isinstance(value, str) else value for name, value in best.params.items()}
    preset = {"preset": f"{config.name}-trial-{best.number}"}
    return best, configure(base_of(config), values | preset)


def _optuna() -> Any:
    """Import Optuna and switch its messages off; `ConfigError` if it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("a search needs optuna: pip install 'maury[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def importance(study: Any) -> dict[str, float]:
    """Share of each setting in the error at the first rung, which all trials reach, largest first.

    By PED-ANOVA (Watanabe et al. 2023, IJCAI): which settings separate the best tenth of trials from the others. Empty
    for fewer than ten trials.
    """
    optuna = _optuna()
    tried = [trial for trial in finished(study) if trial.params and trial.intermediate_values]
    if len(tried) < _FEWEST:
        return {}
    first = optuna.create_study()
    for trial in tried:
        value = trial.intermediate_values[min(trial.intermediate_values)]
        first.add_trial(optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # raised for a choice that was tried only once
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(first, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}
