"""Answers of many kinds, one path each."""
import os
import sys
import time

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = [("Content-Type", "text/plain")]


def note(name):
    with open(os.path.join(DATA, name), "a") as file:
        file.write("x")


def wait_for(name):
    """Waits until the test makes the file; the test reads what was sent before it does."""
    for _ in range(3000):
        if os.path.exists(os.path.join(DATA, name)):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nobody made {name}")


def one(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one piece"]


def several(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one ", b"", b"two ", b"three"]


def as_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"a ", b"tuple")


def generator(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"from "
    yield b""
    yield b"a generator"


def late_start(environ, start_response):
    """start_response at the first next(), as PEP 3333 allows."""
    start_response("200 OK", TEXT)
    yield b"started late"


def empty(environ, start_response):
    start_response("200 OK", TEXT)
    return []


def empty_generator(environ, start_response):
    start_response("200 OK", TEXT)
    return iter([b"", b""])


def written(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"written ")
    write(b"and ")
    return [b"returned"]


def streamed(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"first;"
    wait_for("go")
    yield b"second;"


def write_streamed(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"first;")
    wait_for("go")
    write(b"second;")
    return []


def head_streamed(environ, start_response):
    """The head leaves only with the first byte, so a later start_response can still replace it."""
    start_response("200 OK", TEXT)
    yield b""
    try:
        raise ValueError("found out in time")
    except ValueError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    yield b"replaced"


class Closing:
    def __init__(self, items, fail_at=None):
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        note("closed")


def closing(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing([b"closed ", b"once"])


def closing_after_error(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing([b"begun", ValueError("in the middle")])


def closing_before_output(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing([ValueError("at the beginning")])


def closing_endless(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(iter(lambda: b"x" * 65536, None))


def close_raises(environ, start_response):
    start_response("200 OK", TEXT)

    class Raising(Closing):
        def close(self):
            note("closed")
            raise ValueError("close failed")

    return Raising([b"whole"])


def length_right(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "10")])
    return [b"01234", b"56789"]


def too_long(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "5")])
    return [b"012", b"345", b"678"]


def too_short(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "10")])
    return [b"012"]


def nothing_of_length(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "10")])
    return []


def status_204(environ, start_response):
    start_response("204 No Content", [])
    return []


def status_204_with_body(environ, start_response):
    start_response("204 No Content", [])
    return [b"must not be seen"]


def status_304(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"abc"')])
    return []


def status_own_words(environ, start_response):
    start_response("299 My Very Own Words", TEXT)
    return [b"words"]


def status_404(environ, start_response):
    start_response("404 Not Found", TEXT)
    return [b"my own page"]


def redirect(environ, start_response):
    start_response("302 Found", [("Location", "http://example.org/there?a=b"), ("Content-Type", "text/plain")])
    return [b"go there"]


def cookies(environ, start_response):
    start_response("200 OK", TEXT + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9")])
    return [b"cookies"]


def no_type(environ, start_response):
    start_response("200 OK", [])
    return [b"no type"]


def authenticate(environ, start_response):
    start_response("401 Unauthorized", TEXT + [("WWW-Authenticate", 'Basic realm="here"')])
    return [b"who are you"]


def twice_without_exc_info(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("202 Accepted", TEXT)
    return [b"second"]


def replaced_by_exc_info(environ, start_response):
    start_response("200 OK", TEXT + [("X-First", "yes")])
    try:
        raise ValueError("found out in time")
    except ValueError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    return [b"replaced"]


def exc_info_too_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    try:
        raise ValueError("found out too late")
    except ValueError:
        try:
            start_response("503 Service Unavailable", TEXT, sys.exc_info())
        except ValueError:
            note("reraised")
            raise


def again_after_output(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    start_response("200 OK", TEXT)


def keyword_exc_info(environ, start_response):
    start_response("200 OK", TEXT, None)
    return [b"fine"]


def method(environ, start_response):
    body = environ["REQUEST_METHOD"].encode()
    start_response("200 OK", TEXT + [("X-Method", environ["REQUEST_METHOD"]), ("Content-Length", str(len(body)))])
    return [body]


def file(environ, start_response):
    with open(os.path.join(DATA, "file"), "wb") as made:
        made.write(b"0123456789" * 100000)
    opened = open(os.path.join(DATA, "file"), "rb")
    opened.seek(5)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](opened, 4096)


def file_like(environ, start_response):
    import io

    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789" * 1000), 7)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
