"""What a worker has from where the application was imported, and what is its own."""
import json
import os
import random
import ssl
import time

import mod_wsgi

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = [("Content-Type", "text/plain")]

VERSION = 1
IMPORTED_BY = os.getpid()
random.random()
ssl.RAND_bytes(1)
HOOKS = []
os.register_at_fork(
    before=lambda: HOOKS.append(["before", os.getpid()]),
    after_in_parent=lambda: HOOKS.append(["parent", os.getpid()]),
    after_in_child=lambda: HOOKS.append(["child", os.getpid()]),
)
mod_wsgi.start_recording_metrics()


def note(name, text):
    with open(os.path.join(DATA, name), "a") as file:
        file.write(text + "\n")


mod_wsgi.subscribe_shutdown(lambda name, **values: note("stopping", "%d %s" % (os.getpid(), values["shutdown_reason"])))
mod_wsgi.subscribe_signals(lambda name, **values: note("signals", "%d %s" % (os.getpid(), values["signame"])))


def descriptors():
    return {number: os.readlink("/proc/self/fd/" + number) for number in os.listdir("/proc/self/fd")
            if os.path.lexists("/proc/self/fd/" + number)}


def about(environ):
    metrics = mod_wsgi.process_metrics()
    return json.dumps({
        "version": VERSION,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "imported_by": IMPORTED_BY,
        "hooks": HOOKS,
        "random": random.random(),
        "ssl": ssl.RAND_bytes(8).hex(),
        "metrics": {name: metrics[name] for name in ("pid", "request_count", "running_time", "restart_time")},
        "age": time.time() - metrics["restart_time"],
    }).encode()


def pid(environ):
    return b"%d" % os.getpid()


def wait(environ):
    """Until the test lets it go."""
    note("started", "x")
    while not os.path.exists(os.path.join(DATA, "go")):
        time.sleep(0.01)
    return b"%d" % os.getpid()


def fork(environ):
    """A process of the application's own; its answer is nobody's."""
    child = os.fork()
    if child == 0:
        os._exit(7)
    return b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def printing(environ):
    print("printed by %d" % os.getpid())
    os.write(2, b"written by %d\n" % os.getpid())
    return b"done"


def application(environ, start_response):
    handlers = {f.__name__: f for f in (about, pid, wait, fork, printing)}
    body = handlers[environ["PATH_INFO"].strip("/") or "pid"](environ)
    start_response("200 OK", TEXT)
    return [body]
