"""Search for hyper-parameters: a study of short trainings, most of them stopped early."""

from maury.search.distributed import run_on_cluster
from maury.search.space import Choice, Range, StudyConfig, load_study
from maury.search.study import open_study, run_study
from maury.search.study_report import write_report

__all__ = ["Choice", "Range", "StudyConfig", "load_study", "open_study", "run_on_cluster", "run_study", "write_report"]
