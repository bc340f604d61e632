"""The one exception for faults that the person at the keyboard can mend."""


class UserError(Exception):
    """Wrong use or unusable input. The message says what is wrong and what to do; `bench` prints it and exits 2."""


class CellFailed(Exception):
    """A run that could not be finished for a reason that its record states; its siblings go on."""
