"""`python -m mixbench`, for torchrun and for shells without the console script."""

import os
import sys

if __name__ == "__main__":
    # Python has put the current folder first, where a random.py would be imported for Python's own.
    if sys.path[0] == os.getcwd() and not getattr(sys.flags, "safe_path", False):  # from 3.11 on
        del sys.path[0]
        # It may be found nowhere else.
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from mixbench.cli import main

    main()
