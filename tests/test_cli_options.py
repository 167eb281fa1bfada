"""The library speaks of parameters; options stand on the command line alone, and look alike where they are shared."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from rich.console import Console

import maury
from maury.cli import console
from maury.cli.app import TASKS, current
from maury.cli.app import command as whole
from maury.cli.console import worded
from maury.errors import ConfigError, DomainError
from pages import ROOT, commands
from verbs import run

SOURCE = Path(maury.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND_LINES = {"app/analysis.py": "command", "app/serve.py": "arguments"}
"""Functions of the page that write a command line: that of `maury predict`, and Streamlit's own."""


def texts(path):
    """Texts of a module, without those of functions that write command lines."""
    tree = ast.parse(path.read_text("utf-8"))
    excluded = COMMAND_LINES.get(path.relative_to(SOURCE).as_posix())
    tree.body = [node for node in tree.body if getattr(node, "name", None) != excluded]
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_the_library_names_no_option():
    modules = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] != "cli"]
    assert len(modules) > 100
    found = [
        f"{path}:{node.lineno}: {node.value}" for path in modules for node in texts(path) if OPTION.search(node.value)
    ]
    assert not found


def verbs(command=None, name="maury"):
    """Every verb by its name, as the command line knows it."""
    command = whole() if command is None else command
    if not hasattr(command, "commands"):
        return {name: command}
    return {k: v for child in command.commands.values() for k, v in verbs(child, f"{name} {child.name}").items()}


def test_shared_options_have_one_name_form_and_metavar():
    seen = defaultdict(set)
    for name, verb in verbs().items():
        for parameter in verb.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert parameter.help, f"{name}: {parameter.opts} without help"
                longest = max(parameter.opts, key=len)
                seen[longest].add(tuple(sorted(parameter.opts)))
    assert {option: forms for option, forms in seen.items() if len(forms) > 1} == {}
    assert seen["--resolution"] == {("--resolution", "-R")}
    assert seen["--out"] == {("--out", "-o")}


@pytest.mark.parametrize(
    "option", ["--seed", "--ray", "--plot", "--json", "--mask", "--model", "--prior", "--velocity"]
)
def test_shared_options_are_worded_alike(option):
    worded = {
        (parameter.help, parameter.metavar)
        for verb in verbs().values()
        for parameter in verb.params
        if option in parameter.opts
    }
    assert len(worded) == 1


def test_every_verb_stands_under_a_task(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    for task, names in TASKS.items():
        assert task in printed
        for name in names:
            assert re.search(rf"^│ {name} ", printed, re.MULTILINE), name
    hidden = {name for name, command in whole().commands.items() if command.hidden}
    listed = {name for names in TASKS.values() for name in names}
    assert set(whole().commands) == listed | hidden


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("calibrate default --out x", "validate default --out x"),
        ("calibrate --wanted 100", "validate --target-ess 100"),
        ("predict --catalog list.csv --out x", "catalog list.csv --out x"),
        ("predict --model m --catalog=list.csv --workers 2", "catalog list.csv --model m --workers 2"),
        ("emulator star --zeta 3 -o x", "emulator star --vmac 3 -o x"),
    ],
)
def test_former_spellings_work_and_are_named(former, today, capsys):
    assert current(former.split()) == today.split()
    assert " is now " in capsys.readouterr().err
    assert current(today.split()) == today.split()
    assert not capsys.readouterr().err


def test_lines_calibrate_keeps_its_name():
    words = ["lines", "calibrate", "standards.toml"]
    assert current(words) == words


def test_an_error_names_the_option_of_its_parameter():
    predict = verbs()["maury predict"]
    assert worded(DomainError("no R", parameter="resolution"), predict) == "no R (--resolution)"
    assert worded(DomainError("too fast", parameter="velocity_kms"), predict) == "too fast (--velocity)"
    assert worded(ConfigError("not empty", parameter="folder"), verbs()["maury train"]) == "not empty (--out)"
    assert worded(ConfigError("width", parameter="width"), predict) == "width"
    assert worded(ConfigError("plain"), predict) == "plain"


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_commands_are_understood(page):
    """Verbs and options exist, also in commands that no test runs, and are written in today's words."""
    for words in commands(page):
        if words[0] != "maury" or len(words) == 1 or words[1].startswith("-") or "..." in words:
            continue
        assert current(words[1:]) == words[1:]
        command, rest = whole(), words[1:]
        while hasattr(command, "commands") and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        if not hasattr(command, "commands"):
            command.make_context(command.name, rest)


@pytest.mark.parametrize(("every_s", "lines"), [(0.0, ["spectra: 0 of 4", "spectra: 3 of 4"]), (3600.0, [])])
def test_progress_is_printed_as_lines_where_stderr_is_a_file(every_s, lines, monkeypatch, tmp_path):
    monkeypatch.setattr(console, "LINE_EVERY_S", every_s)
    with open(tmp_path / "log", "w") as log:
        monkeypatch.setattr(console, "err", Console(file=log))
        with console.progress() as bar:
            task = bar.add_task("inputs", total=None)
            bar.update(task, description="spectra", total=4)
            bar.advance(task, 3)
    printed = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(",")[0] for line in printed if line.startswith("spectra: ")] == lines


def test_progress_is_printed_as_lines_where_the_output_is_a_file(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with console.progress() as bar:
        task = bar.add_task("synthesising", total=3)
        for _ in range(3):
            bar.advance(task)
    printed = capsys.readouterr().err
    assert "synthesising: 1 of 3" in printed
    assert "synthesising: 2 of 3" in printed
