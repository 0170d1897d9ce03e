"""Every error a user can meet. Each says what is wrong, where, and how to fix it.

EvalError                 something the user can act on; the command line prints it as one line
├── UsageError            exit 2: bad arguments, settings or input files
│   ├── SettingError      an unknown or inconsistent sampling setting
│   ├── TaskError         an unknown task, or a task whose rows don't fit it
│   └── CheckpointError   missing, unexpected or wrong-shaped weights, or no usable config
├── EnvironmentError_     exit 3: a package, the hub, a device or disk space is missing
├── Interrupted           exit 130: Ctrl-C or SIGTERM; what was answered is kept
├── TooManyFailures       exit 1: more samples failed than --max-failures allows
└── SampleError           one sample can't be answered; the run goes on and counts it as failed
    └── MediaError        an image or a video of the sample can't be read
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r" ?<[^<>]* at 0x[0-9a-fA-F]+>")


class EvalError(Exception):
    """Base of all errors meant for people. ``exit_code`` is what the command line returns."""

    exit_code = 2


class UsageError(EvalError):
    """The request itself is wrong: fix the arguments or the input and try again."""


class SettingError(UsageError):
    """A sampling setting is unknown, out of range, or contradicts another one."""


class TaskError(UsageError):
    """A task name is unknown, or its rows lack what the task needs."""


class CheckpointError(UsageError):
    """A checkpoint directory can't be loaded as it stands."""


class EnvironmentError_(EvalError):
    """The machine lacks something: a package, the network, a device, disk space or memory."""

    exit_code = 3


class Interrupted(EvalError):
    """The user or the system stopped the run; the message says how to resume it."""

    exit_code = 130


class TooManyFailures(EvalError):
    """More samples failed than allowed; the run stopped early and can be resumed."""

    exit_code = 1


class SampleError(EvalError):
    """One sample can't be answered. Never stops a run: it becomes a failed sample with this reason."""

    exit_code = 1


class MediaError(SampleError):
    """An image or a video can't be read, or is refused (empty, truncated, too large)."""


def past_time(limit: float) -> str:
    """Why a sample failed that took longer than ``--time-limit``."""
    return f"took longer than the time limit of {limit:g} s; raise --time-limit and add --retry-failed"


def one_line(error: BaseException, limit: int = 200) -> str:
    """The message of an error on one line, for quoting it inside another; its kind if it has no message.

    Addresses of objects are left out, so that the line is the same in every run.
    """
    text = _ADDRESS.sub("", " ".join(str(error).split()))
    return text[:limit].strip() or type(error).__name__
