"""Keeps books: a line when a request begins to run, and one with the sum of its body when that was read. What is asked is BOOK-NUMBER.

/run answers the number, /echo the body, /stream pieces, /slow/N the number after N seconds; /die kills the process.
"""
import os
import signal
import time
import zlib

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def note(book, line):
    """One write to a file opened for appending: lines of several processes do not mix."""
    ledger = os.open(os.path.join(DATA, "ledger-%s.%d" % (book, os.getuid())), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(ledger, (line + "\n").encode())
    os.close(ledger)


def pieces(number):
    for index in range(20):
        if index % 7 == 3:
            time.sleep(0.005)
        yield b"%d.%d " % (number, index) * 200


def application(environ, start_response):
    book, _, number = environ["QUERY_STRING"].partition("-")
    note(book, "begun " + number)
    body = b""
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read()
        note(book, "read %s %d %d" % (number, len(body), zlib.adler32(body)))
    what = environ["PATH_INFO"].strip("/").split("/")
    if what[0] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(10)
    if what[0] == "slow":
        time.sleep(float(what[1]))
    start_response("200 OK", [
        ("Content-Type", "application/octet-stream"), ("X-Number", number), ("X-Pid", str(os.getpid())),
    ])
    if what[0] == "echo":
        return [body]
    if what[0] == "stream":
        return pieces(int(number))
    return [number.encode()]
