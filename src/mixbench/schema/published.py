"""All published sets, images and tables, by name. Imports nothing heavy."""

from __future__ import annotations

from mixbench.schema.specs import SPECS, DataSpec
from mixbench.schema.tables import TABLES

PUBLISHED: dict[str, DataSpec] = {**SPECS, **TABLES}
