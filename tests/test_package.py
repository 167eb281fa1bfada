"""The package as a whole: layers, imports, dependencies, the command line's own help."""

import ast
import importlib.metadata
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

import maury
from patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
SOURCE = Path(maury.__file__).parent
MODULES = sorted(info.name for info in pkgutil.walk_packages(maury.__path__, "maury."))


def python(code, **environment):
    """Run code in a fresh interpreter and return what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_module_can_be_imported_first():
    """A cycle of imports shows when the right module comes first: each is tried in a fork of its own.

    What the package imports from elsewhere is loaded once, before. Importing a module imports its package first, so
    that a module which its package has loaded needs no further try.
    """
    code = f"""
import importlib, json, os, sys
for name in {MODULES!r}:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.split(".")[0] == "maury"]:
    del sys.modules[name]
failed, done = [], set()
for name in sorted({MODULES!r}, key=lambda name: name.count(".")):
    if name in done:
        continue
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(repr(error), flush=True, file=sys.stderr)
            os._exit(1)
        loaded = [other for other in sys.modules if other.startswith(name + ".")]
        os.write(theirs, " ".join(loaded).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as stream:
        done.update(stream.read().split())
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(json.dumps(failed))
"""
    assert len(MODULES) > 20
    assert python(code) == []


def test_importing_everything_changes_nothing_else(tmp_path):
    """No file is written; no global state of Python, numpy, torch or matplotlib changes."""
    code = f"""
import importlib, json, logging, os, signal, sys, threading, warnings
import astropy.io.fits, astropy.table, h5py, lightning, matplotlib, matplotlib.pyplot, numpy, scipy.signal, torch
import lightning.pytorch.loggers, pydantic, rich.console, torch.utils.tensorboard, typer
import plotly.subplots, streamlit

def state():
    return {{
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(signal.getsignal(signal.SIGINT))],
        "filters": [repr(entry) for entry in warnings.filters],
        "log": [repr(handler) for handler in logging.getLogger().handlers] + [logging.getLogger().level],
        "numpy": [repr(numpy.geterr()), repr(numpy.get_printoptions())],
        "random": [repr(numpy.random.get_state()), torch.get_rng_state().sum().item()],
        "torch": [str(torch.get_default_dtype()), torch.get_num_threads(), torch.is_grad_enabled(),
                  torch.distributions.Distribution._validate_args, torch.are_deterministic_algorithms_enabled(),
                  torch.get_float32_matmul_precision()],
        "matplotlib": [matplotlib.get_backend(), repr(dict(matplotlib.rcParams))],
        "threads": [thread.name for thread in threading.enumerate()],
    }}

before = state()
for name in {MODULES!r}:
    importlib.import_module(name)
after = state()
print(json.dumps({{key: [before[key], after[key]] for key in before if before[key] != after[key]}}))
"""
    home = tmp_path / "home"
    home.mkdir()
    folders = {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    assert python(f"import os; os.chdir({str(home)!r})\n" + code, **folders) == {}
    assert set(os.listdir(home)) <= {".astropy"}  # astropy before version 8 makes this itself


def test_help_is_instant():
    """The command line imports nothing heavy before a verb runs."""
    code = "import sys, json, maury.cli.app; print(json.dumps(sorted(sys.modules)))"
    heavy = {"torch", "lightning", "matplotlib", "scipy", "astropy", "h5py", "pandas"}
    assert heavy.isdisjoint(python(code))


def imports(path):
    """Top-level names of the modules that a file imports, and the line of each."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0], node.lineno


def test_every_import_is_a_declared_dependency():
    requirements = importlib.metadata.requires("maury")
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("-", "_") for line in requirements}
    declared |= {"pysme" for name in declared if name == "pysme_astro"}
    allowed = declared | set(sys.stdlib_module_names) | {"maury", "__future__"}
    foreign = {
        f"{path.relative_to(SOURCE)}:{line} {name}"
        for path in SOURCE.rglob("*.py")
        for name, line in imports(path)
        if name.lower() not in allowed
    }
    assert foreign == set()


def test_layers_hold(monkeypatch):
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(no_cache=True) == 0


def test_modules_stay_readable():
    """A module tells its one job in its first docstring line and stays within about 400 lines."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 420, path
        assert (ast.get_docstring(ast.parse(text)) or "").strip(), path


def commands(command, name="maury"):
    """Every command of the command line, with its full name."""
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for child in command.commands.values():
            yield from commands(child, f"{name} {child.name}")
    else:
        yield name, command


@pytest.fixture(scope="module")
def verbs():
    from maury.cli.app import app

    return dict(commands(typer.main.get_command(app)))


def test_the_verbs_are_those_of_the_way_of_the_data(verbs):
    expected = {
        "maury library info",
        "maury library merge",
        "maury emulator fit",
        "maury emulator spectra",
        "maury grid build",
        "maury grid info",
        "maury networks show",
        "maury train",
        "maury evaluate",
        "maury predict",
    }
    assert expected <= verbs.keys()


def test_each_help_teaches(verbs):
    """Every verb says in a sentence what it does and shows an example; every option says what it is."""
    for name, command in verbs.items():
        assert len((command.help or "").split()) >= 6, f"{name}: no help"
        assert command.hidden or name in command.help, f"{name}: no example in its help"  # former spellings are hidden
        for parameter in command.params:
            if parameter.name not in ("help", "install_completion", "show_completion"):
                assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


def test_a_users_mistake_is_one_line_and_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "maury", "grid", "info", str(tmp_path / "none.h5")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "none.h5" in done.stderr


def test_help_and_version_work():
    for arguments, text in ((["--help"], "predict"), (["--version"], f"maury {maury.__version__}")):
        done = subprocess.run(
            [sys.executable, "-m", "maury", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        assert text in done.stdout


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    """Ctrl-C in any verb: one line, exit code 130."""
    from maury.cli import app as module

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("maury.networks.packaged_networks", interrupted)
    with pytest.raises(SystemExit) as stop:
        module.main(["networks", "list"])
    assert stop.value.code == 130
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err
