"""The error for mistakes that the user can correct."""


class UserError(Exception):
    """A user's mistake, in one line that names the file, the line and the remedy; the exit status is 2."""
