"""The boundaries of one run, counted in a file by all its processes; at one of them its Muster process is killed."""

import os
import signal

LEDGER, PROCESS, KILL_AT = "BOUNDARY_LEDGER", "BOUNDARY_PROCESS", "BOUNDARY_KILL_AT"
"""Environment: the file, the process to kill, and at which line of the file; 0 is at none."""


def tick(what: str, name: str) -> bool:
    """Note a boundary; kill the run's process when it is the one. Return whether it was, in a process that lives on."""
    ledger = os.open(os.environ[LEDGER], os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, f"{what} {name}\n".encode())
    written = os.lseek(ledger, 0, os.SEEK_CUR)  # after this very line, whatever others have written meanwhile
    number = os.pread(ledger, written, 0).count(b"\n")
    os.close(ledger)
    if number != int(os.environ[KILL_AT]):
        return False
    os.kill(int(os.environ[PROCESS]), signal.SIGKILL)
    return True
