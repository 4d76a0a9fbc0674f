"""The papers' claims and their verdicts: conf/paper/PAPER/claims.yaml says what is claimed and what tests it.

    - where: Figure 3                       in the paper
      says: ...                             the claim, in our words
      test: ...                             what is compared with what
      smaller: ...                          the paper's scale, where ours is smaller: then nothing is decided
      judge: zhang2021/fig3 grows           the study, and which of its judges decides; or
      open: ...                             what it would take, where nothing of ours decides it

A verdict is never written there: it comes from stored numbers alone. Imports no torch.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mixbench.config import yaml_files
from mixbench.errors import ConfigError
from mixbench.papers.library import PAPERS, file_of
from mixbench.schema.knob import nearest
from mixbench.studies.library import Spec, load
from mixbench.studies.store import place, refused, stored
from mixbench.studies.study import UNDECIDED, VERDICTS, Judgement

__all__ = ["PAPERS", "Row", "judged", "markdown", "of_paper", "text"]


HEAD = """# What the papers claim, and what we found

Made by `mixbench claims --format md` from stored numbers, never written by hand. A claim is confirmed or refuted by
distributions over seeds, or by closed forms against the very code that trains; "holds with a correction" says which,
also where it never holds as it is printed; "undecided" says what it would take. What a paper measured on networks is
decided on its data, at its length of training: less of either is undecided, and the row says which way it went. Ranges
are 95 % intervals over seeds; where one of k tries would be enough, each is one of 1 - 0.05 / k. `mixbench analyze KEY`
computes the numbers of a study again and draws its figure.
"""


@dataclass(frozen=True)
class Claim:
    """An entry of a claims file; `judge` is empty for a claim that nothing of ours decides, `smaller` for one that is
    tested at the paper's scale.
    """

    where: str
    says: str
    test: str = ""
    judge: str = ""
    open: str = ""
    smaller: str = ""

    @property
    def key(self) -> str:
        """The study's key."""
        return self.judge.partition(" ")[0]


@dataclass(frozen=True)
class Row:
    """A claim with its judgement."""

    claim: Claim
    judgement: Judgement

    def __str__(self) -> str:
        remark = f" {self.judgement.remark}" if self.judgement.remark else ""
        whole = f"{self.judgement.verdict}: {self.claim.where}: {self.claim.says} Ours: {self.judgement.ours}.{remark}"
        return textwrap.fill(whole, 120, subsequent_indent="    ", break_on_hyphens=False)


def claims(paper: str) -> list[Claim]:
    """The claims of a paper, in its order. Raises ConfigError for a malformed file."""
    path = file_of(f"{paper}/claims")
    if not path.exists():
        return []
    found = []
    for number, given in enumerate(yaml_files.load(path)["claims"], 1):
        unknown = set(given) - {"where", "says", "test", "judge", "open", "smaller"}
        if unknown or ("judge" in given) == ("open" in given):
            raise ConfigError(
                f"{path}: claim {number}: needs where, says, and either test and judge, or open; not"
                f" {', '.join(map(str, given))}."
            )
        found.append(Claim(**given))
    return found


def of_paper(paper: str, folder: Path) -> list[Row]:
    """The claims of a paper, judged by what lies in `folder`/studies; numbers that cannot be used are said to be."""
    rows, numbers = [], dict[str, tuple[Spec, pd.DataFrame | None]]()
    for claim in claims(paper):
        if claim.open:
            rows.append(Row(claim, Judgement(UNDECIDED, "not tested", claim.open)))
            continue
        if claim.key not in numbers:
            spec = load(claim.key)
            numbers[claim.key] = spec, stored(folder, spec)
        spec, found = numbers[claim.key]
        if why := refused(folder, spec):
            anew = (
                f"{place(folder, spec)}: {why.rstrip('.')}. Computed anew by `mixbench analyze {spec.key}`."
            )
            rows.append(Row(claim, Judgement(UNDECIDED, "numbers that cannot be used", anew)))
        else:
            rows.append(Row(claim, _judgement(claim, spec, found)))
    return rows


def judged(spec: Spec, numbers: pd.DataFrame) -> Iterator[Row]:
    """The claims that this study decides."""
    for paper in PAPERS:
        for claim in claims(paper):
            if claim.key == spec.key:
                yield Row(claim, _judgement(claim, spec, numbers))


def _judgement(claim: Claim, spec: Spec, numbers: pd.DataFrame | None) -> Judgement:
    name, judges = claim.judge.partition(" ")[2], spec.study.judges
    if name not in judges:
        raise ConfigError(
            f"{claim.where}: judge: {spec.key} has no '{name}'.{nearest(name, list(judges))}"
            f"\nKnown: {', '.join(judges)}."
        )
    if numbers is None:
        return Judgement(UNDECIDED, "not computed", f"Computed by `mixbench analyze {spec.key}`.")
    if spec.left_out:  # a judge compares what the spec names, and would say something of nothing
        return Judgement(
            UNDECIDED, f"not judged: {'; '.join(spec.left_out)}", "Judged with all that the spec lists."
        )
    found = judges[name](numbers, spec.parameters)
    assert found.verdict in VERDICTS
    here = "" if found.verdict == UNDECIDED else f"{found.verdict}. "
    if spec.changes:  # fewer samples and other sizes were not what the rule was made for
        changed = f"With {'; '.join(spec.changes)}: {here or 'no verdict. '}The spec's own parameters decide."
        return Judgement(UNDECIDED, found.ours, f"{changed} {found.remark}".strip())
    if claim.smaller:
        remark = f"{here and f'At our scale: {here}'}It takes {claim.smaller}. {found.remark}"
        return Judgement(UNDECIDED, found.ours, remark.strip())
    return found


def counts(rows: Sequence[Row]) -> str:
    """How many there are of each verdict, in words."""
    of = Counter(row.judgement.verdict for row in rows)
    return ", ".join(f"{of[verdict]} {verdict}" for verdict in VERDICTS if of[verdict]) or "no claims yet"


def text(papers: Mapping[str, Sequence[Row]]) -> str:
    """Every claim as a paragraph, and the counts of each paper."""
    parts = []
    for paper, rows in papers.items():
        parts += [f"{paper}: {counts(rows)}", *map(str, rows), ""]
    return "\n".join(parts)


def markdown(papers: Mapping[str, Sequence[Row]]) -> str:
    """A table for each paper, and the counts of all."""
    everything = [row for rows in papers.values() for row in rows]
    parts = [HEAD, f"{len(everything)} claims so far: {counts(everything)}.", ""]
    for paper, rows in papers.items():
        if not rows:
            continue
        parts += [f"## {paper}", "", f"{counts(rows)}.", ""]
        parts += ["| where | the paper says | our test | ours | verdict |", "| --- | --- | --- | --- | --- |"]
        for row in rows:
            remark = f": {row.judgement.remark}" if row.judgement.remark else ""
            cells = (
                row.claim.where,
                row.claim.says,
                row.claim.test,
                row.judgement.ours,
                f"**{row.judgement.verdict}**{remark}",
            )
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)
