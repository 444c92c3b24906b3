"""What makes a worker end: time, processor, memory, Python's lock. Its limits are shown at /limits."""
import ctypes
import json
import os
import resource
import time
from urllib.parse import parse_qs

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = [("Content-Type", "text/plain")]


def note(name):
    with open(os.path.join(DATA, name), "a") as file:
        file.write("x")


def number(environ, name, default):
    return int(parse_qs(environ["QUERY_STRING"]).get(name, [default])[0])


def pid(environ):
    return b"%d" % os.getpid()


def wait(environ):
    """Until the test lets it go."""
    note("started")
    while not os.path.exists(os.path.join(DATA, "go")):
        time.sleep(0.01)
    return b"done"


def keep_the_lock(environ):
    """A C function that does not give Python's lock up."""
    note("started")
    ctypes.PyDLL(None).sleep(number(environ, "seconds", 600))
    return b"done"


def compute(environ):
    """Uses so much processor time."""
    end = time.process_time() + number(environ, "milliseconds", 100) / 1000
    while time.process_time() < end:
        pass
    return b"done"


def allocate(environ):
    return b"%d" % len(bytearray(number(environ, "mib", 1) << 20))


def limits(environ):
    names = ["RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CORE"]
    with open("/proc/self/maps") as file:
        ranges = [line.split()[:2] for line in file]
    sizes = [int(span.split("-")[1], 16) - int(span.split("-")[0], 16) for span, mode in ranges if mode == "rw-p"]
    answer = {name: resource.getrlimit(getattr(resource, name)) for name in names}
    answer["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    answer["sizes"] = sizes
    return json.dumps(answer).encode()


def application(environ, start_response):
    handlers = {f.__name__: f for f in (pid, wait, keep_the_lock, compute, allocate, limits)}
    body = handlers[environ["PATH_INFO"].strip("/") or "pid"](environ)
    start_response("200 OK", TEXT)
    return [body]
