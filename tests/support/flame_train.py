"""Runs the command `flame-train` within the process of a test."""

from click.testing import CliRunner, Result

from trainer.cli.group import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done
