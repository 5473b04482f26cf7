"""The one exception that a person, not a programmer, is meant to read."""


class UserError(Exception):
    """Something the user gave cannot be used; the message says what was given, what was expected and the way out.

    The command line prints it as one line and exits with code 2.
    """


class WriteError(UserError):
    """The disk is full or the folder cannot be written; the same command can go on later. Exit code 1."""
