"""The walls of the house: who may import whom, and what the code never holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "l1ad"

LAYERS = (
    {"l1ad", "errors", "files"},
    {"compiler", "documents", "fixed", "progress"},
    {"operations"},
    {"network"},
    {"canonical"},
    {"events"},
    {"compare", "convert", "emulate", "hardware", "models"},
    {"fuzz", "prove", "trigger"},
    {"audit"},
    {"study"},
    {"verbs"},
    {"cli"},
)
"""From the ground up; imports point down, or stay within a package."""
SIDEWAYS = {("convert", "models"), ("emulate", "compare"), ("hardware", "compare"), ("hardware", "emulate")}
HEAVY = {"tensorflow": {"models", "convert"}, "hls4ml": {"hardware"}, "jax": {"emulate"}, "jaxlib": set()}
HEAVY |= {name: {"models", "convert"} for name in ("qkeras", "tf_keras", "keras", "tensorflow_model_optimization")}
LOADS_HEAVY = (
    *(f"l1ad.models.{name}" for name in ("keras", "architectures", "pruning", "training")),
    *("l1ad.convert.from_qkeras", "l1ad.convert.quantisers", "l1ad.hardware.hls"),
)
"""Modules that load a framework: a step of a study imports them when it needs them, not before."""
LAZY = ("audit", "cli", "events", "fuzz", "prove", "study", "trigger", "verbs")
"""Rooms that import those modules in functions only."""
MAX_LINES = 500
LONG: set[str] = set()
"""Files over `MAX_LINES`, to be split; nothing may join them."""

FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
MODULES = {"l1ad", *("l1ad." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in FILES)}

every_file = pytest.mark.parametrize("name", FILES)


def room(module):
    """``l1ad.hardware.hls`` -> ``hardware``."""
    return module.split(".")[1] if "." in module else module


def room_of_file(name):
    stem = name.removesuffix(".py").split("/")[0]
    return "l1ad" if stem == "__init__" else stem


def imports(tree):
    """Every module that is imported anywhere, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def storey(name):
    found = [number for number, rooms in enumerate(LAYERS) if name in rooms]
    assert len(found) == 1, f"{name!r} has no place in LAYERS"
    return found[0]


@every_file
def test_imports_point_down(name):
    mine = room_of_file(name)
    for module in imports(TREES[name]):
        if module.split(".")[0] != "l1ad":
            continue
        assert module in MODULES, f"{name} imports {module}, which does not exist"
        theirs = room(module)
        down = storey(theirs) < storey(mine)
        assert down or theirs == mine or (mine, theirs) in SIDEWAYS, f"{name} ({mine}) must not import {module}"


@every_file
def test_frameworks_stay_in_their_rooms(name):
    for module in imports(TREES[name]):
        allowed = HEAVY.get(module.split(".")[0])
        assert allowed is None or room_of_file(name) in allowed, f"{name} must not import {module}"


@pytest.mark.parametrize("name", [n for n in FILES if room_of_file(n) in LAZY])
def test_steps_import_frameworks_when_they_need_them(name):
    at_once = list(imports(ast.Module([n for n in TREES[name].body if not isinstance(n, ast.FunctionDef)], [])))
    assert not [module for module in at_once if module.startswith(LOADS_HEAVY)]


@every_file
def test_only_the_command_line_prints(name):
    calls = [n for n in ast.walk(TREES[name]) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    printing = [n.lineno for n in calls if n.func.id in ("print", "input", "breakpoint")]
    assert name == "cli.py" or not printing, f"{name}: lines {printing}"


@every_file
def test_no_assert_and_no_bare_except(name):
    found = [n.lineno for n in ast.walk(TREES[name]) if isinstance(n, ast.Assert)]
    found += [n.lineno for n in ast.walk(TREES[name]) if isinstance(n, ast.ExceptHandler) and n.type is None]
    assert not found, f"{name}: lines {found}"


def undocumented(body, inside=""):
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{node.name}.")


@every_file
def test_every_public_name_is_documented(name):
    assert ast.get_docstring(TREES[name])
    assert not list(undocumented(TREES[name].body))


def test_files_stay_short():
    long = {name for name, path in FILES.items() if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES}
    assert long == LONG


def test_no_room_is_called_after_nothing():
    words = {part for name in FILES for part in name.removesuffix(".py").split("/")}
    assert not words & {"utils", "util", "helpers", "manager", "base", "common", "misc"}


def last_line(code):
    """What a process of its own prints last."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1]


HELP = """
from l1ad.cli import main
try:
    main([{}])
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import l1ad", []),
        ("import l1ad.study.config", []),
        ("import l1ad.study.pipeline, l1ad.study.report", []),
        ("import l1ad.events.store, l1ad.events.generation", []),
        ("import l1ad.models.config, l1ad.models.scaling, l1ad.hardware.target, l1ad.hardware.resources", []),
        ("import l1ad.hardware.hls", ["hls4ml"]),
        ("import l1ad.emulate, l1ad.emulate.device", []),
        (HELP.format("'--version'"), []),
        (HELP.format("'--help'"), []),
        (HELP.format("'run', '--help'"), []),
        (HELP.format("'import', '--help'"), []),
        ("import l1ad.verbs, l1ad.audit.against, l1ad.audit.lint, l1ad.study.lint", []),
        ("import l1ad.convert.from_hls4ml.importer, l1ad.fuzz.run, l1ad.prove.minimise", []),
        ("from l1ad.cli import main; main(['import', 'nowhere', '--out', 'o'])", []),
        ("from l1ad.cli import main; main(['lint', 'no.json'])", []),
        ("from l1ad.cli import main; main(['compare', 'no.json', '--against', 'nowhere'])", []),
        ("from l1ad.cli import main; main(['rate', 'none.toml'])", []),
        ("from l1ad.cli import main; main(['emulate', 'no.json', '--events', 'e', '--out', 'o'])", []),
    ],
)
def test_frameworks_are_loaded_only_by_those_who_need_them(code, expected):
    frameworks = sorted({*HEAVY, "pythia8mc"})
    assert last_line(f"import sys\n{code}\nprint([m for m in {frameworks} if m in sys.modules])") == str(expected)


@pytest.mark.parametrize("code", ["import l1ad.cli", HELP.format("'--help'"), HELP.format("'minimise', '--help'")])
def test_the_command_line_starts_without_numbers_and_plots(code):
    unneeded = ("numpy", "scipy", "h5py", "matplotlib", "rich", "jinja2")
    assert last_line(f"import sys\n{code}\nprint([m for m in {unneeded} if m in sys.modules])") == "[]"
