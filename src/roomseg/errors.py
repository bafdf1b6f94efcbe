"""The errors that a user may see: one line, what was got, what was expected, what to do."""


class UserError(ValueError):
    """A failure that the user can mend; the command line prints its text as one line and exits with 1."""

    exit_code = 1


class UsageError(UserError):
    """The command or the configuration is wrong; exits with 2."""

    exit_code = 2
