"""What the operator of a service can mend, apart from what declines a caller: see `estelam.core.errors` for that."""


class UserFacingError(Exception):
    """Something can't be used or done; the text is for the operator, and a command says it in one plain line."""


class ServerError(UserFacingError):
    """A server can't start; the text is for the operator."""
