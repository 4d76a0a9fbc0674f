"""Which code a plugin is: the version of an installed distribution, else a checksum of all its own source files."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

LIBRARIES = ("site-packages", "dist-packages")  # where other people's modules lie beside a plugin's
SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)


def code_of(module: str, named: Iterable[str], texts: Iterable[str], dist: Distribution | None) -> str:
    """The version of the installed distribution `dist`; where there is none, or it is installed as editable, so that
    its code changes under one version, "sha256:" and the checksum of all that belongs to the plugin.

    That is the `texts` of its option files, the module, the modules that are `named` as holding its members, and what
    these import, and so on, as far as it lies beside the plugin or in its package. Imports are read in the source, not
    followed by running it: those inside functions count, those by a name that is computed do not.
    """
    if dist is not None and _holds(dist, module):
        return dist.version
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    for _, path in sorted(_files({module, *named}, module).items()):
        digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def distribution_of(module: str) -> Distribution | None:
    """The installed distribution that a module comes from; None where it comes from none."""
    found = packages_distributions().get(root(module), [])
    try:
        return distribution(found[0]) if found else None
    except PackageNotFoundError:
        return None


def root(module: str) -> str:
    """The package, or the module, at the top of a dotted name."""
    return module.partition(".")[0]


def _holds(dist: Distribution, module: str) -> bool:
    """Whether the module lies where the distribution was installed to, as a copy; not so of one that is editable."""
    if dist.read_text("METADATA") is None:  # an egg-info, which lies in the folder of the source
        return False
    top = _top(module)
    return top is None or top.parent == Path(str(dist.locate_file(""))).resolve()


def _files(modules: Iterable[str], plugin: str) -> dict[str, Path]:
    """The files of these modules by name, and of all that they import beside the plugin or in its package."""
    found = {name: path for name in modules if (path := _origin(name)) is not None}
    top, left = _top(plugin), list(found)
    while top is not None and left:
        name = left.pop()
        for imported in _imports(name, found[name]) if _own(name, plugin, top.parent) else ():
            path = _beside(top.parent, imported) if _own(imported, plugin, top.parent) else None
            if path is not None and imported not in found:
                found[imported] = path
                left.append(imported)
    return found


def _own(name: str, plugin: str, folder: Path) -> bool:
    """Whether a module of this name is the plugin's where it lies in its folder; in a library only its package is."""
    first = root(name)
    others = first in sys.stdlib_module_names or first == "mixbench" or folder.name in LIBRARIES
    return first == root(plugin) or not others


def _imports(name: str, path: Path) -> Iterator[str]:
    """What a module at a path imports: the packages that it lies in, and whatever its import statements may mean.

    Of `from a import b` these are a and a.b, of which the second may be no module.
    """
    try:
        statements = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):  # compiled, or it says so itself once it is imported
        statements = []
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    imported = [package]
    for statement in statements:
        if isinstance(statement, ast.Import):
            imported += [alias.name.split(".") for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            start = package[: len(package) + 1 - statement.level] if statement.level else []
            start = [*start, *(statement.module or "").split(".")]
            imported += [[part for part in (*start, alias.name) if part] for alias in statement.names]
    for parts in imported:
        yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _beside(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder; None where there is none."""
    path = folder.joinpath(*name.split("."))
    files = [path / "__init__.py", *(path.with_name(path.name + suffix) for suffix in SUFFIXES)]
    return next((file for file in files if file.is_file()), None)


def _origin(name: str) -> Path | None:
    """The file of a module that can be imported; None where it lies in none."""
    if name == "__main__":  # of a script; it has no spec
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec is not None else None
    return Path(origin).resolve() if origin is not None and Path(origin).is_file() else None


def _top(module: str) -> Path | None:
    """The file or the folder of the module or package at the top of a name; None where it lies in none."""
    path = _origin(root(module))
    if path is not None:
        return path.parent if path.name == "__init__.py" else path
    spec = None if root(module) == "__main__" else importlib.util.find_spec(root(module))
    # A package without __init__ has places alone.
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]).resolve() if places else None
