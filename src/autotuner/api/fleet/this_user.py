"""Who uses this program."""

import getpass
import socket


def this_user() -> str:
    """The user and this machine, for lists of who did something."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError, ImportError):  # the user of a container often has no name
        return socket.gethostname()
