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


class UnreadableRowError(UserError):
    """A row that holds no usable document; others beside it may.

    Attributes:
        reason: a few words by which such rows are counted.
    """

    def __init__(self, where: str, what: str, reason: str) -> None:
        super().__init__(f"{where}: {what}")
        self.reason = reason
