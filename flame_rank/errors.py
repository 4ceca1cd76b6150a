"""The error for mistakes that the user can correct."""


class UserError(Exception):
    """A user's mistake, in one line that names the file, the line and the remedy; the exit status is 2."""


def encodable(text: str) -> str:
    r"""Escapes halves of surrogate pairs, which a file's name or an error's message may have, so that it can be
    written."""
    return text.encode(errors="backslashreplace").decode()
