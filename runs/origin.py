"""Who started or answered something: the person at the keyboard and their machine."""

import getpass
import socket


def started_by() -> str:
    """Return `user@host` of this process; the number of the user where they have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "user"
    return f"{user}@{socket.gethostname()}"
