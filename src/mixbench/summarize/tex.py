"""Text for LaTeX, which reads some of its letters as commands."""

from __future__ import annotations

import re

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
} | {c: f"\\{c}" for c in "&%$#_{}"}


def tex(words: str) -> str:
    """The words as LaTeX prints them; what is `code` is set in typewriter, the hyphen before a number as a minus."""
    escaped = "".join(SPECIAL.get(c, c) for c in words)
    minus = re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", minus)
