"""What is raised where a head cannot be used, or does not keep what it declares."""


class HeadError(ValueError):
    """An unknown head or option, or a file that holds no head. The message says what is valid, or what to do."""


class LawBroken(ValueError):
    """A head does not do what every head must do. The message says which way."""
