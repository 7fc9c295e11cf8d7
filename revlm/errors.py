"""The one exception that speaks to the user."""

# Modules that a plain install lacks, and the extra of pyproject.toml that brings each.
EXTRAS = {
    "lm_eval": "evaluate",
    "datatrove": "cluster",
    "dill": "cluster",
    "loguru": "cluster",
    "multiprocess": "cluster",
    "ray": "cluster",
    "wandb_workspaces": "dashboard",
    "gradio": "explore",
}


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


def first_line(error: Exception) -> str:
    """What a library's exception says, in one line; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def missing_extra(error: ModuleNotFoundError) -> UserError | None:
    """What to install for a module that is not there; None for modules that no extra brings."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return UserError(f"{module} is not installed: pip install 'revlm[{EXTRAS[module]}]'")
