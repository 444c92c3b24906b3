"""A bad neighbour. For SECONDS: /log/KIND/SECONDS floods the log, /lock/SECONDS keeps Python's lock, /threads/COUNT starts threads that stay."""
import ctypes
import os
import threading
import time

KINDS = {
    "lines": b"a line of a flood, of which there are many\n" * 20000,
    "long": b"x" * (10 << 20) + b"\n",
    "binary": bytes(range(256)) * 4096,
}


def log(kind, seconds):
    end, written = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        written += os.write(2, KINDS[kind][: 1 << 20])
    return written


def lock(seconds):
    """A C function that does not give the lock up."""
    ctypes.PyDLL(None).sleep(int(seconds))
    return 0


def threads(count):
    started = 0
    try:
        while started < int(count):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError):
        pass
    return started


def application(environ, start_response):
    what, *arguments = environ["PATH_INFO"].strip("/").split("/")
    body = b"%d" % {"log": log, "lock": lock, "threads": threads, "pid": os.getpid}[what](*arguments)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
