"""`mixbench tune`: a search for good values of some keys, with Optuna, on held-out training images."""
