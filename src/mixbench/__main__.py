"""`python -m mixbench`, for torchrun and for shells without the console script."""

from mixbench.cli import main

if __name__ == "__main__":
    main()
