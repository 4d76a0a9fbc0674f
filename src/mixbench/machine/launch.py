"""Which launch a run belongs to: all that one command of the user starts, and a scheduler starts again.

`force=true` asks for a run to start over, and means it once. A job that is preempted, or reaches its time limit, is
started again by the same command line: it has to go on, or it would never end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

# Every launcher hands the environment on, also to a job that it puts back into the queue. A scheduler of one's own that
# starts a command again sets it to what names the job.
VARIABLE = "MIXBENCH_LAUNCH"


def launch() -> str:
    """The name of the launch that this process belongs to.

    Without a name that was handed on it is that of the SLURM job, which a job keeps when it is put back into the queue.
    """
    job = os.environ.get("SLURM_JOB_ID")
    return os.environ.get(VARIABLE) or (f"slurm {job}" if job else secrets.token_hex(8))


def again(before: str) -> bool:
    """Whether this process goes on with the launch `before`.

    Of two commands in one allocation of SLURM the second is a launch of its own: only a job that was put back into the
    queue is the same again.
    """
    handed_on = os.environ.get(VARIABLE)
    if handed_on:
        return handed_on == before
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0" and launch() == before


@contextlib.contextmanager
def one_launch() -> Iterator[None]:
    """All that is started inside the block is one launch, unless it is part of one already."""
    if os.environ.get(VARIABLE):
        yield
        return
    os.environ[VARIABLE] = secrets.token_hex(8)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
