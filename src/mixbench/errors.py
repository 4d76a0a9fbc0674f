"""Errors that a user can act on: each carries one readable message and the exit status of the command."""


class MixbenchError(Exception):
    """A failure whose message is all the user needs; printed without a traceback."""

    exit_status = 1


class ConfigError(MixbenchError):
    """A configuration mistake: names the key, what was given and what is allowed."""

    exit_status = 2


class DataError(MixbenchError):
    """A data set or data file that is missing, truncated or not what it should be."""

    exit_status = 2
