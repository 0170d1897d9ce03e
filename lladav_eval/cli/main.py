"""The command line: puts the command groups together and turns every error into one line and an exit code.

Exit codes: 0 fine; 1 samples failed or the thing asked about is worse; 2 bad usage or input; 3 the environment lacks
something, or an error nobody foresaw (``--debug`` shows where); 130 interrupted, resumable.

Nothing heavy is imported here or at the top of the command files, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import lladav_eval
from lladav_eval.cli import compare, data, doctor, leaderboard, listing, log, plan, regress, report, run, score, sweep
from lladav_eval.cli.console import keep_streams
from lladav_eval.engine.threads import wait_briefly
from lladav_eval.errors import EnvironmentError_, EvalError, Interrupted
from lladav_eval.interrupts import interrupts

DEBUG_VARIABLE = "LLADAV_EVAL_DEBUG"
LONGEST_LINE = 4000
"""Characters of an error that are shown."""

app = typer.Typer(
    name="lladav-eval",
    help="Benchmark evaluation for LLaDA-V, a masked-diffusion vision-language model.",
    epilog="Start with: lladav-eval run --task pocket --model pocket",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (run, plan, score, report, compare, sweep, leaderboard, regress, log, data, listing, doctor):
    command.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lladav-eval {lladav_eval.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and the libraries' own messages.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    try:
        import fcntl  # noqa: F401 (file locks, which runs, data and videos need)
    except ImportError:
        raise EnvironmentError_("Windows lacks the file locks that runs need: run it inside WSL") from None
    try:
        os.getcwd()
    except FileNotFoundError:  # later some library ends the process for it
        raise EnvironmentError_("the current directory has been removed: change to another one") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``lladav-eval``."""
    keep_streams()
    wait_briefly()
    code = invoke(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing but the interpreter's own end is left
    sys.exit(code)


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    with interrupts() as stopped:
        command = typer.main.get_command(app)
        _keep_examples_whole(command)
        try:  # not command.main, which has exit codes of its own for Ctrl-C and closed pipes
            with command.make_context("lladav-eval", list(sys.argv[1:] if arguments is None else arguments)) as context:
                command.invoke(context)
        except KeyboardInterrupt:
            return _say("interrupted", 130)
        except typer.Exit as left:
            return left.exit_code
        except Interrupted as error:
            return _say(str(error), error.exit_code)
        except Exception as error:
            if stopped.is_set():
                return _say("interrupted", 130)
            return _say(str(error), error.exit_code) if isinstance(error, EvalError) else _unforeseen(error)
    return 0


def _keep_examples_whole(command: Any) -> None:
    """Examples of ``--help`` aren't broken over lines, so that they can be pasted; click takes \\b for that."""
    if command.epilog:
        command.epilog = command.epilog.replace("\n\nlladav-eval", "\n\n\b\nlladav-eval")
    for inner in getattr(command, "commands", {}).values():
        _keep_examples_whole(inner)


def _unforeseen(error: Exception) -> int:
    """Usage errors of the option parser carry their own message and code; everything else is a fault of ours."""
    message = getattr(error, "format_message", None)
    if message is not None:
        if type(error).__name__ == "NoArgsIsHelpError":  # nothing was asked: its message is the help
            typer.echo(message(), err=True)
            return 2
        context = getattr(error, "ctx", None)
        return _say(f"{message().rstrip('.')}: see {context.command_path if context else 'lladav-eval'} --help", 2)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # asking whether such a path exists raises
        return _say(f"{str(error.filename)[:60]}...: {error.strerror}; give a shorter path", 2)
    return _say(f"{type(error).__name__}: {error} (unforeseen; lladav-eval --debug ... shows where)", 3)


def _say(message: str, code: int) -> int:
    """One line on stderr, without keys; the traceback too where ``--debug`` asks for it."""
    from lladav_eval.runs.manifest import redact

    if os.environ.get(DEBUG_VARIABLE) and sys.exc_info()[1] is not None:
        traceback.print_exc()
    line = redact("".join(char for char in " ".join(message.split()) if char.isprintable()))
    if len(line) > LONGEST_LINE:  # a cell of a million characters, say; the fix is at the end
        line = f"{line[: LONGEST_LINE // 2]} [...] {line[-LONGEST_LINE // 2 :]}"
    print(f"error: {line}", file=sys.stderr)
    return code
