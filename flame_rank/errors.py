"""The error for mistakes that the user can correct."""


class UserError(Exception):
    """A mistake of the user's, in one line that names the file, the line and the remedy; exit status 2."""
