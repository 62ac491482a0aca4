"""The one base of errors that end a command with a sentence for its user."""


class UserError(RuntimeError):
    """Something is wrong that the user can mend; the message says what, where, and how."""
