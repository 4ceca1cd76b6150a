"""Runs a command and ends with its exit status. Results go to standard output, everything else to standard error."""

import io
import logging
import sys

import click

from flame_rank.errors import UserError

DONE, UNFINISHED, MISTAKE, INTERRUPTED, CUT_OFF = 0, 1, 2, 130, 141


class Group(click.Group):
    """A group of commands that end with status 0 if their reader stops early, as `head` does; click would use status
    1."""

    def invoke(self, ctx: click.Context) -> object:
        logging.getLogger("flame_rank").addHandler(_WARNINGS)
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(CUT_OFF) from error


class _AboveTheBar(logging.Handler):
    """Writes the library's warnings to standard error, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if sys.stderr is not None:
            tqdm.write(self.format(record), file=sys.stderr)


_WARNINGS = _AboveTheBar()


def run(command: click.Group, name: str, arguments: list[str] | None = None) -> None:
    """Runs a command and ends the program with its exit status.

    A user's mistake becomes one line and status 2, never a traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # tables may have letters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except UserError as error:
        _end(f"Error: {error}", MISTAKE)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        _end("", MISTAKE)
    except click.ClickException as error:
        _end(f"Error: {error.format_message()}", MISTAKE)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of typed input
            _end(f"Error: a file ends too early ({error.__cause__}); is it whole?", MISTAKE)
        _end("Interrupted", INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"Error: {where}{error.strerror or error}", MISTAKE)
    _end("", status if isinstance(status, int) else DONE)


def _end(message: str, status: int) -> None:
    if message:
        click.echo(message, err=True)
    if sys.stdout is not None:  # None if the caller has closed it
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # the reader has seen enough
        except OSError as error:
            click.echo(f"Error: standard output: {error.strerror}", err=True)
            status = status or MISTAKE
        sys.stdout = None  # what could not be written would be written again at exit
    sys.exit(status)
