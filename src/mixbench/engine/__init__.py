"""The training loop and what it needs: metrics, checkpoints, evaluation, progress, signals."""
