"""Data sets on the disk: downloads, official archives, what people have, and the prepared arrays."""
