"""Write the table of pipelines into docs/instruments.md: ``python docs/_ext/pipelines.py``."""

from __future__ import annotations

import re
from pathlib import Path

from maury.readers.pipelines import table_of_pipelines

PAGE = Path(__file__).parents[1] / "instruments.md"


def with_table(text: str) -> str:
    """The page with the table between its two comments."""
    table = "\n".join(table_of_pipelines())
    between = re.compile(r"(<!-- pipelines.*?-->\n).*?(<!-- end)", re.DOTALL)
    return between.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
