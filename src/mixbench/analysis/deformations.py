"""The deformed test sets of Zou et al. (MixupE, UAI 2023, Table 8), by name. Imports no torch."""

from __future__ import annotations

import math
from typing import NamedTuple


class Deformation(NamedTuple):
    """`rotation` and `shear` by an angle drawn from -amount to amount (radians), or `zoom` by a fixed factor."""

    kind: str
    amount: float


# The paper gives degrees; 28.6 and 57.3 are 0.5 and 1 rad.
DEFORMATIONS = {
    "rotation_20": Deformation("rotation", math.radians(20)),
    "rotation_40": Deformation("rotation", math.radians(40)),
    "shear_28.6": Deformation("shear", 0.5),
    "shear_57.3": Deformation("shear", 1.0),
    "zoom_60": Deformation("zoom", 0.6),
    "zoom_80": Deformation("zoom", 0.8),
    "zoom_120": Deformation("zoom", 1.2),
    "zoom_140": Deformation("zoom", 1.4),
}
