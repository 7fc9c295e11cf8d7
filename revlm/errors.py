"""The one exception that speaks to the user."""


class UserError(Exception):
    """Something the user can mend.

    Its text is one line: what is wrong, where, and the way out. Commands print it without a
    traceback and exit with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UnreadableFileError(UserError):
    """A file that is damaged; others beside it may be whole."""
