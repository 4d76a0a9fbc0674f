"""`mixbench report`: a page about runs, from their directories alone."""
