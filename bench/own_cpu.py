"""The CPU time that the application says it has spent itself: views.py writes it, a file for each process."""

import struct
from contextlib import suppress


def seconds(site, pids):
    """The sum over these processes; those that ended are forgotten, so measure while none of them ends."""
    total = 0.0
    for pid in pids:
        with suppress(FileNotFoundError):
            total += struct.unpack("d", (site / "own" / str(pid)).read_bytes())[0]
    return total
