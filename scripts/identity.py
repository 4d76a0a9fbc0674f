"""Whether a change of the code changes a number: runs, ids and tables of two checkouts, compared bit for bit.

    python scripts/identity.py REVISION           this checkout against that commit, tag or branch
    python scripts/identity.py REVISION --only G-Mix ids

A refactoring changes nothing here. What is compared: the final weights and the rows of short runs on digits, one for
each method, precision and schedule, trained in both checkouts by the same command line; the id of every run of every
published table and figure, under every protocol; and the tables that docs/measured.md shows, from the records in
results/. One thread, CPU. Takes some four minutes on two cores. The exit status is 1 where something differs.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
SMALL = "epochs=2 dataset.train_size=400 dataset.test_size=100 batch_size=50 device=cpu progress=false output_dir=out"
RUNS = {
    "Vanilla": "",
    "Mixup": "augment=mixup augment.per_sample=true augment.prob=0.7 augment.pairing=derange",
    "CutMix": "augment=cutmix",
    "Mixup & CutMix": "augment=mixup_cutmix",
    "HMix": "augment=hmix",
    "GMix": "augment=gmix dataset.val_size=100 train_mixed_every=1",
    "PuzzleMix": "augment=puzzlemix",
    "Manifold Mixup": "augment=manifold_mixup",
    "MixupE": "augment=mixup regularizer=mixupe",
    "MixupE, exact": "augment=mixup regularizer=mixupe regularizer.variant=exact",
    "SAM": "opt=sam opt.decay_in_ascent=true",
    "ASAM": "opt=asam",
    "G-Mix": "augment=mixup opt=sam opt.rho=0.5",
    "BG-Mix": "augment=mixup opt=bgmix",
    "BG-Mix, subset": "augment=mixup opt=bgmix opt.compute=subset",
    "DG-Mix": "augment=mixup opt=dgmix",
    "DG-Mix, logit": "augment=mixup opt=dgmix opt.decompose=logit",
    "Adam": "opt=adam schedule=cosine schedule.warmup_epochs=0.5",
    "AdamW, WRN": "opt=adamw model=wrn16_4 model.depth=10 model.width=1 model.stem_stride=1",
    "bf16, BCE": "augment=gmix opt=sam precision=bf16 loss=bce_softmax label_smoothing=0.1",
    "MobileNet": "model=mobilenet dataset.base_augment=false",
}


def main(argv: list[str]) -> int:
    """Compare, print a line for each thing compared, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="a commit, tag or branch of this repository")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=f"ids, tables, {', '.join(RUNS)}"
    )
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "checkout"
        _git("worktree", "add", "--detach", "--quiet", str(other), arguments.revision)
        try:
            checks = {
                name: check for name, check in _checks(other, Path(scratch)) if _asked(name, arguments.only)
            }
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                verdicts = list(pool.map(lambda named: _verdict(*named), checks.items()))
        finally:
            _git("worktree", "remove", "--force", str(other))
    different = [name for name, same in zip(checks, verdicts, strict=True) if not same]
    print(
        f"{len(checks)} compared with {arguments.revision}: "
        + (f"{len(different)} DIFFER" if different else "all equal")
    )
    return 1 if different else 0


def _asked(name: str, only: list[str]) -> bool:
    return not only or name in only or name.split(" ")[0] in only


def _checks(other: Path, scratch: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """What is compared: a name, and a function that gives the differences, none where there are none."""
    for name, overrides in RUNS.items():
        yield name, lambda name=name, overrides=overrides: _run_differences(other, scratch / name, overrides)
    for path in sorted((ROOT / "conf" / "paper").glob("*/*.yaml")):
        key, spec = f"{path.parent.name}/{path.stem}", yaml.safe_load(path.read_text())
        for protocol in spec.get("protocols") or {"paper": None}:
            command = [
                spec["kind"],
                key,
                "--dry-run",
                "--protocol",
                protocol,
                "--set",
                f"output_dir={scratch / 'no'}",
            ]
            yield f"ids of {key}, {protocol}", lambda c=command: _text_differences(other, c, scratch)
    for block in re.findall(r"<!-- table: (.+?) -->", (ROOT / "docs" / "measured.md").read_text()):
        yield f"tables {block[:60]}", lambda b=block: _text_differences(other, ["table", *shlex.split(b)])


def _verdict(name: str, check: Callable[[], list[str]]) -> bool:
    differences = check()
    print(f"{'DIFFERS' if differences else 'equal':8} {name}", *differences, sep="\n         ", flush=True)
    return not differences


def _run_differences(other: Path, place: Path, overrides: str) -> list[str]:
    """What differs between the runs of one command line in the two checkouts."""
    found = {}
    for root, folder in ((other, place / "before"), (ROOT, place / "after")):
        folder.mkdir(parents=True)
        status, text = _mixbench(root, ["train", *SMALL.split(), *overrides.split()], folder)
        if status:
            return [f"exit status {status} in {root}: {text.strip().splitlines()[-1]}"]
        (summary,) = (folder / "out").rglob("summary.json")
        rows = pd.read_csv(summary.parent / "epochs.csv", dtype=str).filter(regex="^(?!.*seconds)")
        weights = load_file(summary.parent / "model.safetensors")
        found[folder.name] = summary.parent.relative_to(folder), rows, weights
    (id_before, rows_before, before), (id_after, rows_after, after) = found.values()
    lines = [] if id_before == id_after else [f"directory {id_before} -> {id_after}"]
    lines += [] if rows_before.equals(rows_after) else [f"rows:\n{rows_before}\n{rows_after}"]
    same = before.keys() == after.keys() and all(torch.equal(t, after[name]) for name, t in before.items())
    return lines if same else [*lines, "final weights"]


def _text_differences(other: Path, command: list[str], cwd: Path | None = None) -> list[str]:
    """What differs between the texts that one command prints in the two checkouts; both without a cwd of their own."""
    (_, before), (_, after) = (_mixbench(root, command, cwd or root) for root in (other, ROOT))
    if before == after:
        return []
    changed = set(before.splitlines()) ^ set(after.splitlines())
    return sorted(changed)[:6]


def _mixbench(root: Path, command: list[str], cwd: Path) -> tuple[int, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "src"),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    environment.setdefault("MIXBENCH_DATA", str(Path(tempfile.gettempdir()) / "mixbench-identity"))
    done = subprocess.run(
        [sys.executable, "-m", "mixbench", *command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
