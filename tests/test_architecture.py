"""The layers of the package: no import points up, and none comes round in a circle. Every import counts: in a function,
under TYPE_CHECKING, and by import_module."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import mixbench

# From the bottom to the top; a module is in the room with the longest name that its own begins with. A room may import
# from its neighbours in the layer, but not they from it as well. `__init__` is the package's own, the door for users;
# the version that stands in it is known to all.
LAYERS = (
    "__version__ errors files",
    "schema inventory",
    "config",
    "machine plugins",
    "seams losses schedule",
    "augment regularize models optim",
    "data",
    "record",
    "engine",
    "tracking training",
    "train",
    "training.run",
    "sweep",
    "tuning",
    "summarize",
    "papers analysis studies report bench catalogue",
    "commands",
    "cli __main__ __init__",
)
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms.split()}


def arrows(package: Path) -> dict[str, set[str]]:
    """What each module of `package`, by its name inside of it such as "engine.loop", imports of the others."""
    paths = {
        ".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    known = {*modules, "__version__"}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        inside = f"{package.name}.{module}".removesuffix(".__init__")
        parent = inside if path.name == "__init__.py" else inside.rpartition(".")[0]
        found[module] = set()
        for name in imported(ast.parse(path.read_text()), parent):
            first, *parts = name.split(".")
            while parts and ".".join(parts) not in known:
                parts.pop()  # a class or function of the module before it
            if first == package.name:
                found[module].add(".".join(parts) or "__init__")
        found[module].discard(module)
    return found


def imported(tree: ast.Module, parent: str) -> Iterator[str]:
    """The full names that the code of a module in the package `parent` imports; of a computed one what is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), parent)
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            written = [n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)]
            yield str(written[0]) if written else ""


def room(module: str) -> str:
    """The room that a module is in; empty where there is none."""
    parts = module.split(".")
    return next((r for n in range(len(parts), 0, -1) if (r := ".".join(parts[:n])) in LEVELS), "")


def upward(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """The arrows that point to a higher layer."""
    return {(a, b) for a in graph for b in graph[a] if LEVELS[room(a)] < LEVELS[room(b)]}


def circle(graph: Mapping[str, set[str]]) -> str:
    """One circle in a graph, as "a -> b -> a", a being the first by name; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found = error.args[1][:0:-1]  # which is given against the arrows, and with its first at both ends
        first = found.index(min(found))
        return " -> ".join([*found[first:], *found[: first + 1]])
    return ""


def faults(graph: Mapping[str, set[str]]) -> list[str]:
    """A message for each module without a layer, each arrow that points up, and a circle of modules or of rooms."""
    if homeless := sorted(module for module in graph if not room(module)):
        return [f"{module}: is in no layer; LAYERS lists them." for module in homeless]
    up = upward(graph)
    messages = [
        f"{a} (layer {LEVELS[room(a)]}: {room(a)}) imports {b} (layer {LEVELS[room(b)]}: {room(b)}), which is above it."
        for a, b in sorted(up)
    ]
    down = {a: {b for b in graph[a] if (a, b) not in up} for a in graph}
    rooms: dict[str, set[str]] = {room(a): set() for a in graph}
    for a, others in down.items():
        rooms[room(a)] |= {room(b) for b in others} - {room(a)}
    circles = {"modules": circle(down), "rooms": circle(rooms)}
    return messages + [f"a circle of {what}: {found}" for what, found in circles.items() if found]


def test_every_import_points_down() -> None:
    """Oracle: the syntax tree of every module."""
    graph = arrows(Path(mixbench.__file__).parent)
    assert len(graph) > 100
    assert faults(graph) == []


IN_ORDER = (
    "__init__.py",
    *(f"{room}/__init__.py" for room in ("analysis", "commands", "papers")),
    *(f"{module}.py" for module in ("config/identity", "engine/loop", "training/run", "commands/train")),
)
MADE_UP = {
    "up": (
        {"optim/sam.py": "import mixbench.engine.loop"},
        "optim.sam (layer 5: optim) imports engine.loop (layer 8: engine), which is above it.",
    ),
    "in a function": (
        {"engine/loop.py": "def f():\n    from mixbench.training.run import execute"},
        "engine.loop (layer 8: engine) imports training.run (layer 11: training.run), which is above it.",
    ),
    "for its type": (
        {"schema/train.py": "if TYPE_CHECKING:\n    from mixbench.config import identity"},
        "schema.train (layer 1: schema) imports config.identity (layer 2: config), which is above it.",
    ),
    "relative": (
        {"record/__init__.py": "from ..commands import train"},
        "record (layer 7: record) imports commands.train (layer 16: commands), which is above it.",
    ),
    "by a computed name": (
        {"sweep/execute.py": "importlib.import_module(f'mixbench.commands.{name}')"},
        "sweep.execute (layer 12: sweep) imports commands (layer 16: commands), which is above it.",
    ),
    "the door": (
        {"data/images.py": "from mixbench import __version__, load_run"},
        "data.images (layer 6: data) imports __init__ (layer 17: __init__), which is above it.",
    ),
    "modules": (
        {
            "papers/spec.py": "from mixbench.papers.parse import parse",
            "papers/parse.py": "from .spec import Spec",
        },
        "a circle of modules: papers.parse -> papers.spec -> papers.parse",
    ),
    "rooms": (
        {"papers/metric.py": "from mixbench import analysis", "analysis/a.py": "from mixbench import papers"},
        "a circle of rooms: analysis -> papers -> analysis",
    ),
    "no layer": ({"odds/ends.py": ""}, "odds.ends: is in no layer; LAYERS lists them."),
}


@pytest.mark.parametrize("case", MADE_UP)
def test_the_check_fails(tmp_path: Path, case: str) -> None:
    """By hand: one thing wrong in a package that is otherwise in order, and the message that names it."""
    sources, message = MADE_UP[case]
    for name, source in (dict.fromkeys(IN_ORDER, "from mixbench import __version__") | sources).items():
        path = tmp_path / "mixbench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert faults(arrows(tmp_path / "mixbench")) == [message]
