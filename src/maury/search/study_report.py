"""Report of a study: errors, importance of settings, and the best settings as TOML for `maury train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maury import __version__
from maury.config import save_config
from maury.files import write_json
from maury.search.space import StudyConfig
from maury.search.study import BASELINE, BEST, best_settings, finished, importance

REPORT = "report.json"


def write_report(study: Any, config: StudyConfig, folder: Path) -> dict[str, Any]:
    """Write best.toml, report.json and a figure of an `optuna.Study` into its folder; return what report.json holds.

    Raises:
        ConfigError: no trial was trained to the end.
        OutputError: a file cannot be written.
    """
    best, settings = best_settings(study, config)
    trials = finished(study)
    weights = importance(study)
    base = next((t.value for t in trials if t.user_attrs.get(BASELINE) and t.value is not None), None)
    report = {
        "study": config.name,
        "maury": __version__,
        "trials": len(trials),
        "complete": sum(trial.state.name == "COMPLETE" for trial in trials),
        "stopped_early": sum(trial.state.name == "PRUNED" for trial in trials),
        "interrupted": sum(trial.state.name == "FAIL" for trial in study.trials),
        "seconds": config.seconds,
        "clock": config.clock,
        "baseline_error": base,
        "best_error": best.value,
        "baseline_over_best": None if base is None else base / best.value,
        "best": {"trial": best.number, **best.params, **best.user_attrs},
        "importance": weights,
        "table": [_row(trial) for trial in trials],
    }
    save_config(folder / BEST, settings)
    write_json(folder / REPORT, report)
    tried = [trial for trial in trials if trial.params]
    if tried and weights:
        from maury.plots import plot_search, save_figure  # not needed by trials in processes of their own

        names = list(weights)
        values = [[trial.params.get(name) for name in names] for trial in tried]
        logarithmic = [bool(getattr(config.space[name], "log", False)) for name in names]
        errors = [float(trial.intermediate_values[max(trial.intermediate_values)]) for trial in tried]
        complete = [trial.state.name == "COMPLETE" for trial in tried]
        save_figure(plot_search(weights, values, logarithmic, errors, complete, base), folder / "search")
    return report


def _row(trial: Any) -> dict[str, Any]:
    attributes = {name: trial.user_attrs[name] for name in ("steps", "weights") if name in trial.user_attrs}
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "rungs": trial.intermediate_values,
        **attributes,
        **trial.params,
    }
