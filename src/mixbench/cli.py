"""The command `mixbench`: finds the subcommand and hands over. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Sequence

from mixbench import __version__
from mixbench.config import plugins
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine import command
from mixbench.machine.output import check_printed, printable

COMMANDS = {
    "train": "train one model, or sweep: mixbench train augment=gmix opt=sam",
    "tune": "search for good values with Optuna, on held-out training images",
    "eval": "measure finished runs: accuracy, confusion, deformed images, your own data",
    "export": "write the network of a finished run as TorchScript, ONNX or a state dict",
    "table": "print a published table beside ours; --run trains what is missing",
    "figure": "draw a published figure from our runs; --run trains what is missing",
    "analyze": "compute what a paper explains and judge its claims; compare runs in an evaluation",
    "claims": "every claim of the papers: confirmed, refuted or undecided by our numbers",
    "tables": "list the papers' tables and figures, and how far each is",
    "report": "write tables, plots and every run to one self-contained HTML page",
    "runs": "list the runs that exist, by any key, as a table",
    "retry": "train again what failed or was interrupted",
    "methods": "list every data set, model, method and knob, with its source",
    "bench": "measure what a training step of each method costs",
    "data": "list, download, import and verify data sets",
}

# Of these commands the outcome is in the records, and what they print is not missed, unless they are asked for no more.
RECORDED = ("train", "tune", "retry")
ANSWERED = {"--dry-run", "--cfg", "-c", "--info", "--help", "-h"}

USAGE = f"""mixbench {__version__}: mixed-sample data augmentation and sharpness-aware training.

usage: mixbench COMMAND [...]

{chr(10).join(f"  {name:8} {line}" for name, line in COMMANDS.items())}

  mixbench COMMAND --help     what a command takes
  mixbench COMMAND --plugin PLUGIN [...]        with options of your own, from a module or a .py file
  mixbench train              the smallest run: handwritten digits, no download, a few seconds
  eval "$(mixbench train -sc install=bash)"     completion in the shell
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv` (default: the process's own) and exit with its status."""
    if sys.platform == "win32":
        print(
            "mixbench: does not run on Windows, which lacks POSIX signals; use WSL 2 there.", file=sys.stderr
        )
        sys.exit(2)
    try:
        from mixbench.machine import process

        process.begin()
        for stream in (sys.stdout, sys.stderr):  # what the terminal's encoding lacks is written as \\xNN
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        status = run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # training has its own answer to Ctrl-C, see mixbench.machine.signals
        from mixbench.machine.signals import stopped

        print(f"mixbench: {stopped(signal.SIGINT, 'what was complete is kept')}", file=sys.stderr)
        status = 128 + signal.SIGINT
    sys.exit(status)


def run(argv: list[str]) -> int:
    """The exit status: 0 done, 1 a run failed, 2 a mistake in what was asked for, 75 another process has the run."""
    try:
        argv, names = plugins.taken(argv)
        with command.given(argv[0]) if argv else contextlib.nullcontext(), plugins.named(names):
            status = _dispatch(argv)
        if not (argv and argv[0] in RECORDED) or ANSWERED.intersection(argv):
            check_printed()
        return status
    except MixbenchError as error:
        print(printable(command.saying(error, " ".join(argv[:1]))), file=sys.stderr)
        return error.exit_status


def _dispatch(argv: list[str]) -> int:
    if asked := [i for i, word in enumerate(argv[:2]) if word in ("-sc", "--shell-completion")]:
        _check_completion(argv[asked[0] + 1 :])
    if asked == [0]:
        line, names = plugins.taken_from_line(os.environ.get("COMP_LINE", ""))
        with contextlib.suppress(ConfigError), plugins.named(names):
            return _dispatch(_completion(argv, line))
        return 0
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"mixbench {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        from mixbench.schema.knob import nearest

        commands = ", ".join(COMMANDS)
        print(f"mixbench: no command '{argv[0]}'.{nearest(argv[0], list(COMMANDS))}", file=sys.stderr)
        print(f"Allowed: {commands}. See mixbench --help.", file=sys.stderr)
        return 2
    if sum(word.partition("=")[0] == "--jobs" for word in argv) > 1:
        raise ConfigError("--jobs: is given twice.")
    return importlib.import_module(f"mixbench.commands.{argv[0]}").main(argv[1:])


def _check_completion(words: list[str]) -> None:
    """Raises ConfigError for what neither a shell sends, nor a user who installs completion."""
    known = len(words) == 1 and re.fullmatch(r"(install|uninstall|query)=(bash|zsh|fish)", words[0])
    if not known or (words[0].startswith("query=") and "COMP_LINE" not in os.environ):
        raise ConfigError(
            f'-sc {" ".join(words)}: is for the shell; eval "$(mixbench train -sc install=bash)" installs completion'
            " (also zsh, fish)."
        )


def _completion(argv: list[str], line: str) -> list[str]:
    """Hydra's completion hook calls `mixbench -sc query=bash` with the whole `line` in COMP_LINE.

    Take the subcommand out of that line and ask the subcommand; complete the subcommand's own name here.
    """
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        os.environ["COMP_LINE"] = line.replace(f" {words[1]}", "", 1)
        os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
        if words[1] == "train":
            return ["train", *argv]
    elif any(a.startswith("query=") for a in argv):
        start = words[1] if len(words) == 2 else ""
        print("\n".join(f"{c} " for c in COMMANDS if c.startswith(start)))
        sys.exit(0)
    return ["train", *argv]
