"""`mixbench methods`: every option of every group with its source, and a short card for each."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixbench.catalogue.cards import cards, listing


def main(argv: list[str]) -> int:
    """The exit status of `mixbench methods ARGV`. Raises ConfigError for an unknown name."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench methods",
        description="List every data set, model, method and schedule with its source, or show the card of one.",
    )
    parser.add_argument("name", nargs="?", help="an option, such as gmix, or a paper's method, such as G-Mix")
    picture = parser.add_argument_group("a figure of what the mixing methods do to two images")
    picture.add_argument(
        "--gallery", type=Path, metavar="FILE", help="draw it into FILE (.png, .pdf or .svg)"
    )
    picture.add_argument(
        "--images",
        metavar="NAME",
        help="take the first two test images of different class in this data set, a published one of small images"
        " (default: cifar10 if it is prepared, else digits)",
    )
    picture.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: 0)")
    arguments = parser.parse_args(argv)
    if arguments.gallery:
        if arguments.name:
            parser.error(f"--gallery shows all methods at once: leave out {arguments.name}")
        from mixbench.catalogue.gallery import write_gallery

        print(write_gallery(arguments.gallery, arguments.images, arguments.seed))
        return 0
    if arguments.images or arguments.seed:
        parser.error("--images and --seed go with --gallery FILE")
    name = arguments.name
    print("\n".join(listing() if name is None else cards(name)))
    return 0
