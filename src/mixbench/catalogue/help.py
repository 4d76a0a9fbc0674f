"""What `mixbench train --help` prints, made from the schemas and the option files."""

from __future__ import annotations

import textwrap

from mixbench.config.options import names
from mixbench.schema.knob import allowed
from mixbench.schema.train import GROUPS, own_knobs

EXAMPLES = """usage: mixbench train [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--from FILE] [--cfg job] [--config-dir DIR]

  mixbench train augment=gmix opt=sam            Gaussian Mixup under SAM, on handwritten digits
  mixbench train augment=mixup opt=sam           G-Mix (Li & Tang) is Mixup under SAM
  mixbench train dataset=cifar100 model=wrn16_4 augment=mixup opt=sam opt.rho=0.5 precision=bf16
  mixbench train -m opt=sam opt.rho=0.05,0.1 seed=0,1     a sweep of four runs

The same command again resumes an unfinished run, or shows the result of a finished one.

groups (mixbench methods lists each option with its source and knobs):"""
OPTIONS = """options:
  -m, --multirun      sweep over comma-separated values
  --jobs N            runs of a sweep side by side (default: 1 on a CPU; what fits on a GPU, up to 4)
  --dry-run           list the runs with their states and the time they will take; train nothing
  --from FILE         train from a saved config, RUN/config.yaml, with the keys and options given besides it changed
  --cfg job           print the composed config and stop
  --config-dir DIR    a folder with option files of your own, e.g. DIR/augment/mine.yaml; +experiment=NAME takes
                      options and keys of the whole run from DIR/experiment/NAME.yaml
  --plugin PLUGIN     load a module, or a .py file, that adds options of your own; may be repeated
  --info              where Hydra finds its configs
  eval "$(mixbench train -sc install=bash)"       completion in bash (also zsh, fish)"""


def help_text() -> str:
    """The whole text."""
    lines = [EXAMPLES]
    for group in GROUPS:
        lines += _wrapped(f"  {group + '=':12} ", ", ".join(names(group)))
    lines += ["", "keys of the run:"]
    for key, field in own_knobs():
        metadata = field.metadata
        note = f" ({', '.join(metadata['choices'])})" if metadata["choices"] else ""
        note += f" ({allowed(metadata['limits'])})" if allowed(metadata["limits"]) else ""
        lines += _wrapped(f"  {key:19} ", metadata["doc"] + note)
    return "\n".join([*lines, "", OPTIONS])


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
