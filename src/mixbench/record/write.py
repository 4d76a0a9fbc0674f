"""Writing a run's directory."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixbench.files import plain, write_atomic, write_json
from mixbench.record.claim import CLAIM, claimed
from mixbench.record.read import CHECKED, Row, _checksum, _digest


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Replace epochs.csv. Floats are written so that reading them back gives the same bits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if isinstance(v, float) and math.isnan(v) else repr(v) for k, v in row.items()}
        )
    write_atomic(directory / "epochs.csv", text.getvalue().encode())


def write_config(directory: Path, config: Any) -> None:
    """The composed config as YAML, from its dataclass."""
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
    write_atomic(directory / "config.yaml", text.encode())


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Replace summary.json, with its checksum and, unless the run goes on, those of the other files."""
    content = plain(summary)
    if summary["state"] != "running":
        content["files"] = {name: found for name in CHECKED if (found := _checksum(directory / name))}
    write_json(directory / "summary.json", {**content, "sha256": _digest(content)})


def move_aside(directory: Path) -> Path | None:
    """Rename a run's directory so that it can start over; nothing is deleted. Returns the new place, if any."""
    if not directory.exists():
        return None
    with claimed(directory):
        number = 1
        while (aside := directory.with_name(f"{directory.name}.old{number}")).exists():
            number += 1
        directory.rename(aside)
        (aside / CLAIM).unlink(missing_ok=True)
    return aside
