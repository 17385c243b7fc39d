"""Who started or answered something: the person at the keyboard and their machine."""

import getpass
import os
import socket

if os.name == "posix":
    import pwd


def started_by() -> str:
    """Return `user@host` of this process; the number of the user where they have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "user"
    return f"{user}@{socket.gethostname()}"


def person_here() -> str:
    """Return `user@host` as the system knows them: who may answer must not hang on a variable that anybody can set."""
    if os.name != "posix":
        return started_by()
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
