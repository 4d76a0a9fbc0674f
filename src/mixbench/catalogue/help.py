"""What `mixbench train --help` prints, made from the schemas and the option files."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping

from mixbench.config.compose import compose
from mixbench.config.identity import flat
from mixbench.config.options import names, options
from mixbench.errors import ConfigError
from mixbench.schema.knob import MISSING, allowed, nearest
from mixbench.schema.train import GROUPS, own_knobs

EXAMPLES = """usage: mixbench train [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--from FILE] [--cfg job] [--config-dir DIR]

  mixbench train augment=gmix opt=sam            Gaussian Mixup under SAM, on handwritten digits
  mixbench train augment=mixup opt=sam           G-Mix (Li & Tang) is Mixup under SAM
  mixbench train dataset=cifar100 model=wrn16_4 augment=mixup opt=sam opt.rho=0.5 precision=auto
  mixbench train -m opt=sam opt.rho=0.05,0.1 seed=0,1     a sweep of four runs

The same command again resumes an unfinished run, or shows the result of a finished one.

groups (mixbench methods lists each option with its source and knobs):"""
OPTIONS = """options:
  -m, --multirun      sweep over comma-separated values
  --jobs N            runs of a sweep side by side (default: 1 on a CPU; what fits on a GPU under MPS, up to 4)
  --dry-run           list the runs with their states and the time they will take; train nothing
  --from FILE         train from a saved config, RUN/config.yaml, with the keys and options given besides it changed
  --cfg job           print the composed config and stop
  --config-dir DIR    a folder with option files of your own, e.g. DIR/augment/mine.yaml; +experiment=NAME takes
                      options and keys of the whole run from DIR/experiment/NAME.yaml
  --plugin PLUGIN     load a module, or a .py file, that adds options of your own; may be repeated
  --info              where Hydra finds its configs
  eval "$(mixbench train -sc install=bash)"       completion in bash (also zsh, fish)"""


def help_text(chosen: Mapping[str, str] | None = None) -> str:
    """The whole text, with the keys of the `chosen` options by group, else of the default ones.

    Raises ConfigError for an option that there is not.
    """
    lines = [EXAMPLES]
    for group in GROUPS:
        lines += _wrapped(f"  {group + '=':12} ", ", ".join(names(group)))
    lines += ["", "keys of the run:"]
    plain = flat(compose([]))
    for key, field in own_knobs():
        lines += _key(key, field, plain[key])
    for group in GROUPS:
        name = (chosen or {}).get(group, plain[group])
        option = next((option for option in options(group) if option.name == name), None)
        if option is None:
            raise ConfigError(
                f"{group}={name}: no such option.{nearest(name, names(group))}\nAllowed: {', '.join(names(group))}."
            )
        own = [field for field in dataclasses.fields(option.schema) if field.name != "name"]
        lines += ["", f"keys of {group}={name}:"] if own else []
        for field in own:
            lines += _key(f"{group}.{field.name}", field, option.values[field.name])
    return "\n".join([*lines, "", OPTIONS])


def _key(key: str, field: dataclasses.Field, default: object) -> list[str]:
    metadata = field.metadata
    choices, limits = ", ".join(metadata["choices"] or ()), allowed(metadata["limits"])
    ours = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    known = default != MISSING and ours not in ("", "[]")
    notes = [
        *([choices] if choices else []),
        *([limits] if limits else []),
        *([f"default {ours}"] if known else []),
    ]
    return _wrapped(f"  {key:22} ", metadata["doc"] + f" ({'; '.join(notes)})" * bool(notes))


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
