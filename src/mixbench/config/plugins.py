"""Options from outside the repository: what plugins register (see mixbench.plugins), and how plugins are loaded.

A plugin is a file or module that `--plugin` names on the command line, or an installed package's entry point in the
group `mixbench.plugins`. No config can name one. Other processes of the same command find the names in the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from typing import Any

from mixbench.config.library import files, schemas
from mixbench.config.plugin_code import code_of, distribution_of, root
from mixbench.config.plugin_errors import in_words, told
from mixbench.errors import ConfigError, MixbenchError
from mixbench.files import expanded

VARIABLE = "MIXBENCH_PLUGINS"  # a list in JSON; every launcher hands the environment on
GROUPS = ("dataset", "model", "augment", "regularizer", "opt", "schedule")


@dataclass(frozen=True)
class Registered:
    """An option of a plugin. `text` is its option file; `plugin` the name of the plugin, as the record has it."""

    group: str
    name: str
    member: Any
    schema: type
    text: str
    plugin: str


_options: dict[tuple[str, str], Registered] = {}
# Name and version (or checksum) of each plugin, by the path, module or entry point that asked for it.
_loaded: dict[Any, tuple[str, str]] = {}
_loading: list[str] = []  # the names of plugins that are being imported


# --- what a plugin registers --------------------------------------------------------------------


def register(group: str, name: str, member: Any, schema: type, yaml: str | Path) -> None:
    """Add the option `name` to a group. Described in mixbench.plugins. Raises ConfigError for what does not fit."""
    text = yaml.read_text(encoding="utf-8") if isinstance(yaml, Path) else yaml
    problem = _problem(group, name, schema, text)
    if problem:
        raise ConfigError(f"register({group!r}, {name!r}, ...): {problem}")
    _options[group, name] = Registered(
        group, name, member, schema, text, _loading[-1] if _loading else schema.__module__
    )


def _problem(group: str, name: str, schema: type, text: str) -> str:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from mixbench.schema.examples import ImageDataset
    from mixbench.schema.knob import check, nearest
    from mixbench.schema.model import Model

    if group not in GROUPS:
        return f"no such group.{nearest(group, GROUPS)} Allowed: {', '.join(GROUPS)}."
    if not re.fullmatch(r"[a-z]\w*", name):
        return "a name is made of small letters, digits and _."
    if name in files(group) or name in schemas(group):
        return "mixbench has an option of this name."
    if (group, name) in _options:
        return f"plugin {_options[group, name].plugin} has an option of this name."
    if "__dataclass_fields__" not in vars(schema) or getattr(schema, "name", None) != name:
        return f"the schema {schema.__name__} must be a @dataclass with the field name: str = {name!r}."
    if (schema.__doc__ or "").startswith(f"{schema.__name__}("):  # as @dataclass writes it
        return f"the schema {schema.__name__} needs a docstring: a sentence, and Source: where it comes from."
    if group == "dataset" and not issubclass(schema, ImageDataset):
        return "the schema of a data set must be a subclass of mixbench.schema.examples.ImageDataset."
    if group == "model" and not issubclass(schema, Model):
        return "the schema of a network must be a subclass of mixbench.schema.model.Model."
    bare = [f.name for f in dataclasses.fields(schema) if f.name != "name" and "doc" not in f.metadata]
    if bare:
        return f"the schema's field {bare[0]} must be a mixbench.schema.knob.knob."
    try:
        values: Any = OmegaConf.create(text)
        if not OmegaConf.is_dict(values) or values.pop("defaults", None) != [
            f"/schema/{group}/{name}@_here_"
        ]:
            return f"the YAML must have the line 'defaults: [/schema/{group}/{name}@_here_]'."
        merged = OmegaConf.merge(OmegaConf.structured(schema), values)
        if "${" in text:  # the values that it refers to are known when a run is composed
            return ""
        missing = OmegaConf.missing_keys(merged)
        if missing:
            return f"the YAML has no value for {', '.join(sorted(missing))}."
        option: Any = OmegaConf.to_object(merged)
        wrong = list(check(option))
        if group == "model" and not wrong:
            option.short.format(option)
        return f"the YAML has {wrong[0]}" if wrong else ""
    except YAMLError as error:
        return f"the YAML cannot be read: {error}"
    except (OmegaConfBaseException, ValueError) as error:
        return f"the YAML does not fit the schema: {str(error).splitlines()[0]}"
    except (AttributeError, LookupError) as error:
        return (
            f"the short name {vars(schema).get('short')!r} of {schema.__name__} cannot be formatted: {error}."
        )


def options(group: str) -> dict[str, Registered]:
    """The options of a group that plugins have registered, by name. Loads the plugins first."""
    load()
    return {name: option for (g, name), option in _options.items() if g == group}


def member(group: str, name: str) -> Any:
    """The class or function behind a registered option. Raises ConfigError where the plugin does not have it."""
    option = options(group)[name]
    if not isinstance(option.member, str):
        return option.member
    module, _, attribute = option.member.partition(":")
    with in_words(f"plugin {option.plugin}: {group}={name} is {option.member}"):
        return getattr(importlib.import_module(module), attribute)


# --- which plugins there are --------------------------------------------------------------------


def taken(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its `--plugin NAME`s, and the names. What stands behind `--` is left alone."""
    end = argv.index("--") if "--" in argv else len(argv)
    rest, names = list[str](), list[str]()
    words = iter(argv[:end])
    for word in words:
        if word == "--plugin" or word.startswith("--plugin="):
            name = word.partition("=")[2] or next(words, "")
            if not name:
                raise ConfigError("--plugin: is followed by a module, or a file that ends in .py.")
            names.append(name)
        else:
            rest.append(word)
    return [*rest, *argv[end:]], names


def taken_from_line(line: str) -> tuple[str, list[str]]:
    """The same for a line that is being typed: a last word without a space behind it is not yet a name."""
    option = re.compile(r" --plugin[= ] *(\S+)(?= )")
    return option.sub("", line), option.findall(line)


@contextlib.contextmanager
def named(names: Sequence[str]) -> Iterator[None]:
    """Load these plugins, besides those that the environment names, here and in all processes started inside the block.

    Raises ConfigError for one that is not there, does not load, or registers what does not fit.
    """
    if not names:  # those of the environment are loaded when first needed
        yield
        return
    before = os.environ.get(VARIABLE)
    absolute = [str(expanded(name).resolve()) if name.endswith(".py") else name for name in names]
    os.environ[VARIABLE] = json.dumps(list(dict.fromkeys([*_given(), *absolute])))
    try:
        load()
        yield
    finally:
        os.environ.pop(VARIABLE)
        os.environ |= {} if before is None else {VARIABLE: before}


@contextlib.contextmanager
def importable(folders: Sequence[str]) -> Iterator[None]:
    """A Python started inside the block finds modules in these folders, behind those that PYTHONPATH names."""
    before = os.environ.get("PYTHONPATH")
    if folders:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [before, *folders]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        os.environ |= {} if before is None else {"PYTHONPATH": before}


def folders() -> list[str]:
    """Where plugins lie that are files. Raises ConfigError where a file beside one has the name of a module of Python.

    The job of a launcher names the schema's module before any code of ours runs, so Python itself has to find it there;
    but what PYTHONPATH names is searched before Python's own modules.
    """
    found = list(dict.fromkeys(str(Path(name).parent) for name in _given() if name.endswith(".py")))
    for folder in map(Path, found):
        hiding = sorted(path for path in folder.iterdir() if path.stem in sys.stdlib_module_names)
        hiding = [path for path in hiding if path.suffix == ".py" or (path / "__init__.py").exists()]
        if hiding:
            raise ConfigError(
                f"--plugin: {hiding[0]} would hide Python's own module {hiding[0].stem} from the launcher's jobs;"
                " move the plugin into a folder of its own."
            )
    return found


def arguments() -> list[str]:
    """The options that ask for this command's plugins again: `["--plugin", NAME, ...]`."""
    return [word for name in _given() for word in ("--plugin", name)]


def versions() -> dict[str, str]:
    """All loaded plugins: the version of an installed distribution, or "sha256:..." of a plugin's own files."""
    load()
    found = dict(_loaded.values())
    for name in {option.plugin for option in _options.values()} - set(found):  # imported in Python, not named
        found[name] = _code(name, [option for option in _options.values() if option.plugin == name])
    return found


def _given() -> list[str]:
    try:
        return [str(name) for name in json.loads(os.environ.get(VARIABLE, "[]"))]
    except (ValueError, TypeError):
        raise ConfigError(f"{VARIABLE}: is set by mixbench itself; plugins are named by --plugin.") from None


@functools.cache
def _installed() -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group="mixbench.plugins"))


# --- loading ------------------------------------------------------------------------------------


def load() -> None:
    """Load the plugins that are installed, and those that the command line names, each once. Raises ConfigError."""
    if _loading:  # a plugin asks which options there are
        return
    for point in _installed():
        name, version = (point.dist.name, point.dist.version) if point.dist else (point.name, "")
        module = functools.partial(importlib.import_module, point.module)
        _load(
            point,
            f"the installed plugin {name} {version}",
            name,
            module,
            functools.partial(getattr, point, "dist"),
        )
    for given in _given():
        if given.endswith(".py"):
            _load(
                given,
                f"--plugin {given}",
                Path(given).name,
                functools.partial(_file, Path(given)),
                lambda: None,
            )
        else:
            _load(
                given,
                f"--plugin {given}",
                given,
                functools.partial(_module, given),
                functools.partial(distribution_of, given),
            )


def _load(
    asked: Any,
    called: str,
    name: str,
    imported: Callable[[], ModuleType],
    dist: Callable[[], Distribution | None],
) -> None:
    """Import a plugin that is not loaded yet, or forget what it has registered. `dist` gives what installed it."""
    if asked in _loaded:
        return
    known = set(_options)
    _loading.append(name)
    try:
        with in_words(called):
            module = imported().__name__
            for key, option in _options.items():  # it may have been imported before, as a job's pickle does
                if key not in known or root(option.schema.__module__) == root(module):
                    _options[key] = dataclasses.replace(option, plugin=name)
            own = [option for option in _options.values() if option.plugin == name]
            if not own:
                raise ConfigError("registers no option; see mixbench.plugins.register.")
            _loaded[asked] = name, _code(module, own, dist())
    finally:
        _loading.pop()
        if asked not in _loaded:
            for key in set(_options) - known:
                del _options[key]


def _file(path: Path) -> ModuleType:
    """The module in a file. Its folder is searched last, for the modules beside it."""
    if not path.is_file():
        raise ConfigError("no such file.")
    if not path.stem.isidentifier():
        raise ConfigError("the name of the file must be that of a module: letters, digits and _.")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    importlib.invalidate_caches()
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        raise ConfigError(f"there is another module called {path.stem}; rename the file.")
    return importlib.import_module(path.stem)


def _module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError("is neither the name of a module nor a file that ends in .py.")
    return importlib.import_module(name)


@contextlib.contextmanager
def schemas_in_words() -> Iterator[None]:
    """An exception in this block that the schema of a plugin has raised, as a ConfigError with plugin and place."""
    try:
        yield
    except MixbenchError:
        raise
    except Exception as error:
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        for option in _options.values():
            if getattr(sys.modules.get(option.schema.__module__), "__file__", None) in files:
                raise ConfigError(
                    f"plugin {option.plugin}: a schema of its own fails: {told(error)}"
                ) from None
        raise


def _code(module: str, registered: Sequence[Registered], dist: Distribution | None = None) -> str:
    """Version or checksum of a plugin; its members' modules may not be imported yet, as they import torch."""
    modules = {option.schema.__module__ for option in registered}
    for option in registered:
        kind = option.member
        modules.add(kind.partition(":")[0] if isinstance(kind, str) else getattr(kind, "__module__", module))
    return code_of(module, modules, [option.text for option in registered], dist)
