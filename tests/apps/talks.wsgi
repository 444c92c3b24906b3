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


def unfinished(environ):
    environ["wsgi.errors"].write("no line end in errors, ")
    print("nor in stdout", end="")


def all_streams(environ):
    print("one by stdout, ", end="")
    sys.stderr.write("two by stderr, ")
    environ["wsgi.errors"].write("three by errors\n")


def in_thread(text):
    thread = threading.Thread(target=lambda: sys.stderr.write(text))
    thread.start()
    thread.join()


def long_by_thread(environ):
    in_thread("long " + "y" * 20000 + " end\n")


def lines_by_thread(environ):
    in_thread("the first of two\nthe second of two\n")


def nul(environ):
    environ["wsgi.errors"].write("before the NUL\0behind the NUL\nthe line after it\n")


def describe(environ):
    lines = []
    for stream in (environ["wsgi.errors"], sys.stderr, sys.stdout):
        try:
            stream.fileno()
        except OSError:
            refusal = "OSError"
        lines.append(
            f"{type(stream).__name__} {stream.name} {stream.encoding} {stream.errors} {stream.isatty()} {refusal}\n"
        )
    environ["wsgi.errors"].buffer.write(bytearray(b"bytes by the buffer\n"))
    environ["wsgi.errors"].write("a surrogate \udc80\n")
    return "".join(lines)


kept = []


def keep(environ):
    kept.append(environ["wsgi.errors"])


def use_kept(environ):
    try:
        kept[0].write("too late\n")
    except RuntimeError:
        return "RuntimeError"
    return "written"


def chained(environ):
    try:
        {}["the first"]
    except KeyError as error:
        raise ValueError("the second") from error


def exits(environ):
    sys.exit("good bye")


def deep(environ, depth=20):
    if depth == 0:
        raise ValueError("deep " + "x" * 20)
    deep(environ, depth - 1)


def application(environ, start_response):
    body = globals()[environ["PATH_INFO"].strip("/")](environ) or "done"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
