"""Typed schemas of every config group: one module per group, one dataclass per option, nothing heavy imported."""
