"""`mixbench data`: list, download, import and verify the published sets. Listing them imports no torch."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from mixbench.data.store import cache
from mixbench.data.store import graphs as of_graphs
from mixbench.errors import ConfigError, DataError
from mixbench.inventory.paths import data_dir
from mixbench.machine.output import printable
from mixbench.schema.graphs import FOLDS, GRAPHS, GraphSpec
from mixbench.schema.knob import nearest
from mixbench.schema.published import PUBLISHED
from mixbench.schema.specs import DataSpec, find
from mixbench.schema.tables import TableSpec

EPILOG = """A set is prepared once into plain arrays, FOLDER/NAME/*.npy, and read from there by memory map,
compared with its checksums. FOLDER is --data-dir, else the environment's MIXBENCH_DATA, else
~/.cache/mixbench. `mixbench train` takes the same folder from data_dir=FOLDER, and downloads and prepares
a missing set by itself.

  mixbench data                                     what there is, and where
  mixbench data prepare cifar100                    download the official archive and prepare it
  mixbench data prepare svhn --mirror https://host/folder
  mixbench data import cifar100 ~/archives          from a folder that holds the official archives
  mixbench data import cifar10 cifar-10-python.tar.gz                or the folder where torchvision has unpacked it
  mixbench data import cifar10 my.npz               from train_images, train_labels, test_images, test_labels, or
                                                    from Keras's x_train, y_train, x_test, y_test
  mixbench data import letter uci_tabular.zip       a table from the files of the UCI repository, in a zip or a folder
  mixbench data import mutag dataset.zip            graphs, with their ten folds, from the zip file of GIN's authors
  mixbench data verify                              compare every prepared array with its checksum
"""


def main(argv: list[str]) -> int:
    """Runs `mixbench data ARGV`; the exit status is 0, or 2 if data is damaged.

    Raises ConfigError for an unknown command or data set, DataError for data that is missing or cannot be used.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["list", *argv]
    parser, commands = _parser()
    if argv[0] not in (*commands, "-h", "--help"):
        allowed = ", ".join(commands)
        raise ConfigError(f"no command '{argv[0]}'.{nearest(argv[0], list(commands))} Allowed: {allowed}.")
    arguments = parser.parse_args(argv)
    return commands[argv[0]](data_dir(arguments.data_dir), arguments)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Callable[[Path, argparse.Namespace], int]]]:
    """The command line, and the function behind each command."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench data",
        description="List, download, import and verify the published sets of images, tables and graphs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    common.add_argument("--data-dir", metavar="FOLDER", help="folder of all data sets")
    again = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    again.add_argument("--replace", action="store_true", help="make it anew if it is already there")
    sub = parser.add_subparsers(metavar="COMMAND")
    sub.add_parser("list", parents=[common], help="all data sets, their state and place (the default)")
    prepare = sub.add_parser("prepare", parents=[common, again], help="download what is missing, and prepare")
    prepare.add_argument("names", nargs="+", metavar="NAME", help=", ".join(PUBLISHED))
    prepare.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a folder on the network that holds the official archives, tried first; may be repeated",
    )
    imports = sub.add_parser("import", parents=[common, again], help="prepare from files you have")
    imports.add_argument("name", metavar="NAME", help=", ".join((*PUBLISHED, *GRAPHS)))
    imports.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="archive, folder of archives, unpacked or packed files, .npz file",
    )
    verify = sub.add_parser("verify", parents=[common], help="compare prepared sets with their checksums")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are prepared")
    sub.add_parser("path", parents=[common], help="print the folder of all data sets")
    return parser, {"list": _list, "prepare": _prepare, "import": _import, "verify": _verify, "path": _path}


def _list(root: Path, _: argparse.Namespace) -> int:
    print(f"data sets, prepared in {root}/NAME\n")
    print(f"{'name':19} {'state':9} {'classes':>7} {'train':>7} {'test':>6}  {'input':11}  content")
    for spec in PUBLISHED.values():
        state, remark = cache.standing(root, spec)
        if isinstance(spec, TableSpec):
            sizes, shape = f"{spec.rows:7} {'rows':>6}", f"{spec.columns} columns"
        else:
            sizes, shape = f"{spec.train_size:7} {spec.test_size:6}", "x".join(map(str, spec.shape))
        print(f"{spec.name:19} {state:9} {spec.num_classes:7} {sizes}  {shape:11}  {spec.title}")
        _remark(remark)
    print(f"\n{'name':19} {'state':9} {'classes':>7} {'graphs':>7} {'folds':>6}  {'node':11}  content")
    for graphs in GRAPHS.values():
        state, remark = of_graphs.standing(root, graphs)
        sizes, node = f"{graphs.graphs:7} {FOLDS:6}", f"{graphs.nodes} {graphs.features}"
        print(f"{graphs.name:19} {state:9} {graphs.num_classes:7} {sizes}  {node:11}  {graphs.title}")
        _remark(remark)
    return 0


def _remark(words: str) -> None:
    for line in textwrap.wrap(words, 95):
        print(printable(f"{'':19} {line}"))


def _prepare(root: Path, arguments: argparse.Namespace) -> int:
    from mixbench.data.store.prepare import prepare

    for name in set(arguments.names) & GRAPHS.keys():
        raise ConfigError(
            f"{name}: has nothing to download, as the official archive lacks the folds; `mixbench data import {name}"
            " PATH` takes it from dataset.zip of https://github.com/weihua916/powerful-gnns."
        )
    for spec in [find(name, PUBLISHED) for name in arguments.names]:
        if arguments.replace or not _already_there(root, spec):
            _report(root, prepare(spec, root, arguments.mirror, replace=arguments.replace))
    return 0


def _import(root: Path, arguments: argparse.Namespace) -> int:
    from mixbench.data.store.prepare import import_from

    spec = _spec(arguments.name)
    if isinstance(spec, GraphSpec):
        return _import_graphs(root, spec, arguments)
    if arguments.replace or not _already_there(root, spec):
        _report(root, import_from(spec, arguments.path, root, replace=arguments.replace))
    return 0


def _spec(name: str) -> DataSpec | GraphSpec:
    if name not in PUBLISHED and name not in GRAPHS:
        known = [*PUBLISHED, *GRAPHS]
        raise ConfigError(f"unknown data set '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
    return GRAPHS[name] if name in GRAPHS else PUBLISHED[name]


def _import_graphs(root: Path, spec: GraphSpec, arguments: argparse.Namespace) -> int:
    if not arguments.replace and (root / spec.name).exists():
        print(f"{spec.name}: already there in {root / spec.name}; --replace makes it anew")
        return 0
    of_graphs.import_graphs(spec, arguments.path, root)
    print(f"{spec.name}: {spec.graphs} graphs with {FOLDS} folds in {root / spec.name}")
    print(f"  {of_graphs.verified(root, spec)}")
    return 0


def _already_there(root: Path, spec: DataSpec) -> bool:
    meta = cache.read_meta(root, spec.name)
    if meta is not None:
        print(f"{spec.name}: already there ({meta.state}) in {root / spec.name}; --replace makes it anew")
    return meta is not None


def _report(root: Path, meta: cache.Meta) -> None:
    if "inputs" in meta.files:
        sizes = "{} rows of {} columns".format(*meta.files["inputs"]["shape"])
    else:
        counts = (f"{meta.files[f'{split}_images']['shape'][0]} {split}" for split in ("train", "test"))
        sizes = f"{' and '.join(counts)} images"
    print(f"{meta.name}: {meta.state}, {sizes} in {root / meta.name}")
    if meta.note:
        print(printable(f"  {meta.note}"))


def _verify(root: Path, arguments: argparse.Namespace) -> int:
    specs = [_spec(name) for name in arguments.names]
    status = 0
    for spec in specs or [*PUBLISHED.values(), *GRAPHS.values()]:
        try:
            found = (
                of_graphs.verified(root, spec) if isinstance(spec, GraphSpec) else cache.verified(root, spec)
            )
            if found is None and specs:
                raise DataError(f"{root / spec.name}: {spec.name} is not prepared.")
        except DataError as error:
            print(printable(f"{spec.name}: {error}"), file=sys.stderr)
            status = DataError.exit_status
            continue
        if found is not None:
            print(printable(f"{spec.name}: {found}"))
    return status


def _path(root: Path, _: argparse.Namespace) -> int:
    print(root)
    return 0
