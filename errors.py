"""Errors that a user of whylike can meet.

Every message is one sentence that says what is wrong, where, what is allowed and how to mend it.
The command line prints it without a traceback: `UsageError` and its kin end with exit status 2,
every other `WhylikeError` with 1.
"""


class WhylikeError(Exception):
    """Something failed while running; the message says what and how to go on."""


class UsageError(WhylikeError):
    """A command, a setting or a value given by the user is not allowed."""


class InputError(UsageError):
    """A file or a record that the user gave cannot be taken; the message names the file and the line."""


class NotFoundError(UsageError):
    """A user, an item or a review is not in the store; the message offers the nearest matches."""


class StoreError(WhylikeError):
    """The store cannot be opened, is from a newer whylike, or refused a write."""


class BudgetError(WhylikeError):
    """The teacher's calls or tokens of the day are used up; the message says when the budget renews."""


class EngineError(WhylikeError):
    """The language model could not be loaded or did not answer."""
