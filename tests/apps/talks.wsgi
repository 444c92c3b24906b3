"""Writes to every place an application can write to."""
import logging
import os
import sys
import threading
import warnings


def printed(environ):
    print("printed with print()")


def to_errors(environ):
    environ["wsgi.errors"].write("written to wsgi.errors\n")


def to_errors_in_parts(environ):
    for part in ["one ", "two ", "three\nand a ", "second line"]:
        environ["wsgi.errors"].write(part)
    environ["wsgi.errors"].flush()


def to_stderr(environ):
    sys.stderr.write("written to sys.stderr\n")


def by_logging(environ):
    logging.getLogger("shop").error("logged with logging")


def by_thread(environ):
    thread = threading.Thread(target=lambda: print("said by a thread", file=sys.stderr, flush=True))
    thread.start()
    thread.join()


def to_descriptor(environ):
    os.write(2, b"written to descriptor 2\n")


def by_child(environ):
    os.system("echo said by a child process >&2")


def unicode(environ):
    print("caf\xe9 \u20ac \U0001f40d", file=environ["wsgi.errors"])


def warned(environ):
    warnings.warn("a warning of the application")


def control(environ):
    environ["wsgi.errors"].write("bell \x07 escape \x1b[31m tab \t end\n")


def long(environ):
    environ["wsgi.errors"].write("long " + "x" * 20000 + " end\n")


def application(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
