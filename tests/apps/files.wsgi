"""Answers through wsgi.file_wrapper: which file, from where, and with which headers is in the query."""
import gzip
import io
import json
import os
import socket
import tempfile
from urllib.parse import parse_qs

import mod_wsgi

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
NAME = os.path.join(DATA, "file")
KEPT = {}


class Foreign:
    """Has a file's descriptor, and other content."""

    def __init__(self, file, tell=lambda: 0):
        self.file, self.left, self.tell = file, [b"what ", b"read() ", b"gives"], tell

    def fileno(self):
        return self.file.fileno()

    def read(self, size=-1):
        return self.left.pop(0) if self.left else b""

    def close(self):
        self.file.close()


class Reading(io.FileIO):
    """A file whose read() gives other bytes than the file has."""

    def read(self, size=-1):
        return super().read(size).upper()


class Named(io.FileIO):
    """A file with a method more."""

    def title(self):
        return "x"


class NumberOnly:
    """Has nothing but a descriptor."""

    def __init__(self, number):
        self.number, self.left = number, [b"read"]

    def fileno(self):
        return self.number

    def tell(self):
        return 0

    def read(self, size=-1):
        return self.left.pop(0) if self.left else b""

    def close(self):
        os.close(self.number)


def overridden():
    file = open(NAME, "rb")
    read = file.read
    file.read = lambda size=-1: read(size).upper()
    return file


def zipped():
    with gzip.open(NAME + ".gz", "wb") as file:
        file.write(b"PACKED " * 2000)
    return gzip.open(NAME + ".gz")


def temporary(make):
    file = make()
    file.write(b"temporary " * 1000)
    file.seek(0)
    return file


def pipe():
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    return open(reading, "rb")


def connected():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"through a socket")
    theirs.close()
    file = ours.makefile("rb")
    ours.close()
    return file


def closed():
    file = open(NAME, "rb")
    file.close()
    return file


def written():
    """Bytes that are still in Python's buffer."""
    file = open(NAME + ".written", "w+b")
    file.write(b"still in the buffer")
    file.seek(6)
    file.write(b"IN")
    file.seek(0)
    return file


def unlinked():
    file = open(NAME, "rb")
    os.unlink(NAME)
    return file


KINDS = {
    "buffered": lambda: open(NAME, "rb"),
    "raw": lambda: open(NAME, "rb", buffering=0),
    "update": lambda: open(NAME, "r+b"),
    "named": lambda: Named(NAME),
    "temporary": lambda: temporary(tempfile.TemporaryFile),
    "named_temporary": lambda: temporary(tempfile.NamedTemporaryFile),
    "spooled": lambda: temporary(tempfile.SpooledTemporaryFile),
    "written": written,
    "unlinked": unlinked,
    "memory": lambda: io.BytesIO(b"in memory"),
    "gzip": zipped,
    "buffered_gzip": lambda: io.BufferedReader(zipped()),
    "foreign": lambda: Foreign(open(NAME, "rb")),
    "reading": lambda: Reading(NAME),
    "overridden": overridden,
    "text": lambda: open(NAME),
    "pipe": pipe,
    "socket": connected,
    "directory": lambda: NumberOnly(os.open(DATA, os.O_RDONLY)),
    "path_only": lambda: NumberOnly(os.open(NAME, os.O_PATH)),
    "device": lambda: open("/dev/null", "rb"),
    "write_only": lambda: NumberOnly(os.open(NAME, os.O_WRONLY)),
    "closed": closed,
    "proc": lambda: open("/proc/self/status", "rb"),
}


class Loud(mod_wsgi.FileWrapper):
    """Overrides what an iterator is made of."""

    def __next__(self):
        return super().__next__().upper()


class Plain(mod_wsgi.FileWrapper):
    """Adds nothing that matters."""


class Closing(mod_wsgi.FileWrapper):
    """Notes when it is closed, and where its file stood."""

    def close(self):
        note(f"closed at {self.filelike.tell()};")
        super().close()


WRAPPERS = {"own": mod_wsgi.FileWrapper, "loud": Loud, "plain": Plain, "closing": Closing}


def note(text):
    with open(os.path.join(DATA, "notes"), "a") as file:
        file.write(text)


def serve(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    file = KINDS[query.get("kind", "buffered")]()
    if "peek" in query:
        file.read(1)  # Python's buffer now holds more, so the kernel's position is further on.
        file.seek(0)
    if "seek" in query:
        file.seek(int(query["seek"]))
    headers = [("Content-Type", query.get("type", "text/plain"))]
    for name in ("Content-Length", "ETag", "Last-Modified", "Accept-Ranges", "Content-Range", "Content-Encoding"):
        if name in query:
            headers.append((name, query[name]))
    write = start_response(query.get("status", "200 OK"), headers)
    if "write" in query:
        write(query["write"].encode())
    if "keep" in query:
        KEPT["file"], KEPT["position"] = file, (file.tell(), os.lseek(file.fileno(), 0, os.SEEK_CUR))
        file.close = lambda: note("closed;")
    if "empties" in query:
        close, number = file.close, file.fileno()
        file.close = lambda: (os.ftruncate(number, 0), close(), note("emptied;"))
    wrapper = WRAPPERS[query.get("wrapper", "own")](file, int(query.get("block", 8192)))
    if "first" in query:
        next(wrapper)
    if "generator" in query:
        return (block for block in wrapper)
    del file  # Nobody but the wrapper holds it, as where it is made in the call.
    return wrapper


def kept(environ, start_response):
    """Whether the position of the kept file is what it was."""
    file = KEPT["file"]
    now = (file.tell(), os.lseek(file.fileno(), 0, os.SEEK_CUR))
    return as_json(start_response, [now == KEPT["position"], file.closed])


def as_json(start_response, value):
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def outcome(function):
    try:
        value = function()
    except Exception as error:
        return type(error).__name__
    return value if isinstance(value, (int, str, bool, type(None))) else repr(value)


def of_class(environ, start_response):
    """What the class does, case by case."""
    wrapper = environ["wsgi.file_wrapper"]

    def after_close(question):
        closed = wrapper(io.BytesIO(b"x"))
        closed.close()
        return question(closed)

    def swallowed():
        class Raising(io.BytesIO):
            def close(self):
                raise OSError("close")

        return wrapper(Raising()).close()

    class Texts:
        def read(self, size):
            return "text"

    class Sizes:
        seen = []

        def read(self, size=None):
            self.seen.append(size)
            return b""

    file, reading = io.BytesIO(b"abcdefg"), wrapper(io.BytesIO(b"abcdefg"), 3)
    return as_json(start_response, {name: outcome(ask) for name, ask in {
        "is the module's": lambda: wrapper is mod_wsgi.FileWrapper,
        "is a type": lambda: isinstance(wrapper, type),
        "name": lambda: wrapper.__name__,
        "module": lambda: wrapper.__module__,
        "nothing": lambda: wrapper(),
        "three": lambda: wrapper(file, 1, 2),
        "keywords": lambda: wrapper(filelike=file, blksize=7).blksize,
        "unknown keyword": lambda: wrapper(file, size=7),
        "default": lambda: wrapper(file).blksize,
        "zero": lambda: wrapper(file, 0).blksize,
        "negative": lambda: wrapper(file, -1),
        "a string as size": lambda: wrapper(file, "1"),
        "a float as size": lambda: wrapper(file, 1.5),
        "None as size": lambda: wrapper(file, None),
        "a bool as size": lambda: wrapper(file, True).blksize,
        "huge": lambda: wrapper(file, 1 << 70),
        "large": lambda: wrapper(file, 1 << 40).blksize,
        "no file": lambda: str(wrapper(None).filelike),
        "an int as file": lambda: wrapper(5).filelike,
        "the file": lambda: wrapper(file).filelike is file,
        "set filelike": lambda: setattr(wrapper(file), "filelike", 1),
        "set blksize": lambda: setattr(wrapper(file), "blksize", 1),
        "set anything": lambda: setattr(wrapper(file), "other", 1),
        "own iterator": lambda: iter(reading) is reading,
        "blocks": lambda: repr(list(reading)),
        "exhausted": lambda: next(reading),
        "next of an int": lambda: next(wrapper(5)),
        "text blocks": lambda: next(wrapper(Texts())),
        "bytearray blocks": lambda: next(wrapper(type("B", (), {"read": lambda self, size: bytearray(b"x")})())),
        "sizes": lambda: [next(wrapper(Sizes(), 9), None), Sizes.seen][1] == [9],
        "indexing": lambda: wrapper(file)[0],
        "close": lambda: wrapper(io.BytesIO()).close(),
        "close closes": lambda: [wrapper(file).close(), file.closed][1],
        "close of no file": lambda: wrapper(5).close(),
        "close raises": swallowed,
        "close twice": lambda: after_close(lambda closed: closed.close()),
        "filelike after close": lambda: after_close(lambda closed: closed.filelike),
        "blksize after close": lambda: after_close(lambda closed: closed.blksize),
        "next after close": lambda: after_close(next),
        "iter after close": lambda: after_close(iter) is not None,
        "list after close": lambda: after_close(list),
        "subclass": lambda: issubclass(type("S", (wrapper,), {}), wrapper),
        "subclass's blocks": lambda: repr(list(type("S", (wrapper,), {})(io.BytesIO(b"ab"), 1))),
        "before init": lambda: wrapper.__new__(wrapper).filelike,
    }.items()})


def references(environ, start_response):
    """Nothing keeps a wrapper or its file alive."""
    import gc

    gc.collect()
    wrappers = [thing for thing in gc.get_objects() if isinstance(thing, mod_wsgi.FileWrapper)]
    files = [name for name in os.listdir("/proc/self/fd") if "/data/" in link(name)]
    return as_json(start_response, [len(wrappers), len(files)])


def link(name):
    try:
        return os.readlink("/proc/self/fd/" + name)
    except OSError:
        return ""


PATHS = {"/serve": serve, "/kept": kept, "/class": of_class, "/references": references}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
