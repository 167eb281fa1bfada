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


def module_imports(source):
    """What each module of a package imports when it is loaded, in order: (module, name or None)."""

    def statements(body):
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "relative import"
                yield from ((node.module, alias.name) for alias in node.names)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from statements(getattr(node, "body", ()))

    found = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = list(statements(ast.parse(path.read_text()).body))
    return found


def imported_too_early(modules, first):
    """The names that are taken from a module that is still being loaded, if ``first`` is imported first."""
    state, early = {}, []

    def load(name):
        if name not in modules or name in state:
            return
        load(name.rpartition(".")[0])
        if name in state:
            return
        state[name] = "loading"
        for module, what in modules[name]:
            load(module)
            if what is not None and f"{module}.{what}" in modules:
                load(f"{module}.{what}")
            elif what is not None and state.get(module) == "loading":
                early.append(f"{name}: {what} of {module}")
        state[name] = "loaded"

    load(first)
    return early


def test_every_module_can_be_imported_first():
    """A cycle of imports shows when the right module comes first."""
    modules = module_imports(SOURCE)
    assert set(MODULES) <= set(modules)
    assert {name: early for name in modules if (early := imported_too_early(modules, name))} == {}


def test_a_cycle_of_imports_is_found(tmp_path):
    for name, text in {"__init__": "", "a": "from p.b import x\ny = 1", "b": "from p.a import y\nx = 1"}.items():
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / f"{name}.py").write_text(text)
    modules = module_imports(tmp_path / "p")
    assert imported_too_early(modules, "p.a") == ["p.b: y of p.a"]
    (tmp_path / "p" / "b.py").write_text("if TYPE_CHECKING:\n    from p.a import y\nx = 1")
    assert imported_too_early(module_imports(tmp_path / "p"), "p.a") == []


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
    from maury.cli.app import command

    return dict(commands(command()))


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
