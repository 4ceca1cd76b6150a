"""The one error that is the user's to mend."""


class UserError(Exception):
    """A mistake of the user's: one line that names the file, the line and the remedy; exit status 2."""
