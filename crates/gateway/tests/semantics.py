"""The applications of the semantics tests: PATH_INFO names one."""
import gc
import io
import os
import sys
import threading

apps = {}


def app(function):
    apps["/" + function.__name__] = function
    return function


def application(environ, start_response):
    return apps[environ["PATH_INFO"]](environ, start_response)


def ok(start_response, *headers):
    return start_response("200 OK", [("Content-Type", "text/plain"), *headers])


def say(start_response, value):
    ok(start_response)
    return [value if isinstance(value, bytes) else repr(value).encode("utf-8", "backslashreplace")]


@app
def environ(environ, start_response):
    types = {key: type(value).__name__ for key, value in environ.items()}
    assert type(environ) is dict
    assert types.pop("wsgi.input") == "Input" and types.pop("wsgi.errors") == "TextIOWrapper"
    wrapper = environ["wsgi.file_wrapper"]
    assert isinstance(wrapper, type) and wrapper is __import__("mod_wsgi").FileWrapper
    keys = sorted(key for key in environ if not key.startswith(("mod_wsgi.", "wsgi.", "apache.")))
    return say(start_response, [
        environ["wsgi.version"], environ["wsgi.url_scheme"], environ["wsgi.multithread"], environ["wsgi.multiprocess"],
        environ["wsgi.run_once"], environ["wsgi.input_terminated"], environ["mod_wsgi.version"], environ["apache.version"],
        environ["SCRIPT_FILENAME"], environ.get("X_BYTES"), types["mod_wsgi.request_start"], types["mod_wsgi.thread_id"], keys])


@app
def headers_seen(environ, start_response):
    return say(start_response, {key: value for key, value in environ.items() if key.startswith(("HTTP_", "X_"))})


@app
def variables_seen(environ, start_response):
    return say(start_response, sorted(f"{key}={value}" for key, value in environ.items() if key.startswith("X_")))


@app
def surroundings(environ, start_response):
    import signal
    before = signal.getsignal(signal.SIGUSR1)
    handler = lambda *_: None
    returned = signal.signal(signal.SIGUSR1, handler)
    assert returned is handler and signal.getsignal(signal.SIGUSR1) == before
    module = sys.modules[__name__]
    return say(start_response, [
        sys.argv, __name__.startswith("_mod_wsgi_"), len(__name__), os.path.basename(__file__), type(module.__mtime__).__name__,
        os.path.dirname(__file__) in sys.path, sys.modules["mod_wsgi"].version, "" in sys.path])


# --- input ---

CALLS = [
    ("read", ()), ("read", (-1,)), ("read", (0,)), ("read", (1,)), ("read", (3,)), ("read", (5,)), ("read", (70000,)),
    ("readline", ()), ("readline", (-1,)), ("readline", (0,)), ("readline", (1,)), ("readline", (4,)), ("readline", (100000,)),
    ("readlines", ()), ("readlines", (-1,)), ("readlines", (0,)), ("readlines", (1,)), ("readlines", (6,)), ("__next__", ()),
]


def outcome(stream, name, args):
    try:
        return getattr(stream, name)(*args)
    except StopIteration:
        return "stop"


@app
def conformance(environ, start_response):
    """Pairs of calls, then the rest, against io.BytesIO; the body repeats a pattern, each repetition for one combination."""
    pattern = bytes.fromhex(environ["X_PATTERN"])
    number = int(environ["X_CALL"])
    oracle = io.BytesIO(pattern)
    stream = environ["wsgi.input"]
    for name, args in (CALLS[number // len(CALLS)], CALLS[number % len(CALLS)], ("readline", (2,)), ("read", ()), ("read", (9,)),
                       ("readline", ()), ("readlines", ()), ("__next__", ())):
        expected, found = outcome(oracle, name, args), outcome(stream, name, args)
        if expected != found:
            return say(start_response, "%s%r: expected %r, found %r" % (name, args, expected[:50], found[:50]))
    assert iter(stream) is stream
    return say(start_response, b"same")


@app
def input_misuse(environ, start_response):
    seen = []
    for call in (lambda s: s.read(None), lambda s: s.read("1"), lambda s: s.read(1, 2), lambda s: s.read(size=1), lambda s: s.seek(0)):
        try:
            call(environ["wsgi.input"])
        except (TypeError, AttributeError) as error:
            seen.append(type(error).__name__)
    return say(start_response, seen)


@app
def echo(environ, start_response):
    ok(start_response)
    return iter(lambda: environ["wsgi.input"].read(65536), b"")


@app
def input_lines(environ, start_response):
    return say(start_response, list(environ["wsgi.input"]))


@app
def broken_input(environ, start_response):
    seen = []
    for _ in range(2):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(str(error))
    return say(start_response, seen)


kept = {}


@app
def keep(environ, start_response):
    environ["wsgi.errors"].write("kept\n")
    write = ok(start_response)
    kept.update(environ, write=write, start_response=start_response)
    return [b"kept"]


@app
def use_kept(environ, start_response):
    seen = []
    for name, call in (
        ("read", lambda: kept["wsgi.input"].read()), ("next", lambda: next(kept["wsgi.input"])), ("write", lambda: kept["write"](b"x")),
        ("start", lambda: kept["start_response"]("200 OK", [])), ("errors", lambda: kept["wsgi.errors"].write("x\n")),
    ):
        try:
            call()
        except RuntimeError:
            seen.append(name)
    kept.clear()
    return say(start_response, seen)


@app
def ignore_body(environ, start_response):
    return say(start_response, b"ignored")


@app
def read_in_thread(environ, start_response):
    found = []
    thread = threading.Thread(target=lambda: found.append(environ["wsgi.input"].read()))
    thread.start()
    thread.join()
    return say(start_response, found[0])


# --- the answer ---

@app
def stream(environ, start_response):
    ok(start_response)
    yield b"one"
    yield b""
    yield b"two"


@app
def two_blocks(environ, start_response):
    ok(start_response)
    return (b"one", b"two")


@app
def write(environ, start_response):
    write = ok(start_response)
    write(b"one")
    write(b"")
    write(b"two")
    return [b"three"]


@app
def empty(environ, start_response):
    ok(start_response)
    return []


@app
def not_found(environ, start_response):
    start_response("404 Not Found", [("X-A", "1"), ("X-A", "2"), ("X-Latin", "\xe9")])
    return [b"no"]


class Closing:
    def __init__(self, blocks, closed):
        self.blocks, self.closed = iter(blocks), closed

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        if isinstance(block, Exception):
            raise block
        return block

    def close(self):
        closed.append(self.closed)
        if self.closed == "raises":
            raise ValueError("in close")


closed = []


@app
def close_called(environ, start_response):
    ok(start_response)
    return Closing([b"a"], "whole")


@app
def close_after_error(environ, start_response):
    ok(start_response)
    return Closing([ValueError("first")], "error")


@app
def close_after_output(environ, start_response):
    ok(start_response)
    return Closing([b"a", ValueError("second")], "output")


@app
def close_after_bad_block(environ, start_response):
    ok(start_response)
    return Closing(["text"], "bad block")


@app
def close_raises(environ, start_response):
    ok(start_response)
    return Closing([b"a"], "raises")


@app
def closes(environ, start_response):
    value = list(closed)
    closed.clear()
    return say(start_response, value)


@app
def big(environ, start_response):
    ok(start_response)
    return [b"x" * (8 << 20)]


@app
def large_blocks(environ, start_response):
    ok(start_response)
    for i in range(16):
        yield bytes([i]) * (1 << 20)


@app
def file(environ, start_response):
    ok(start_response)
    wrapper = environ["wsgi.file_wrapper"](io.BytesIO(b"abcdefgh"), blksize=3)
    assert iter(wrapper) is wrapper and wrapper.blksize == 3
    return wrapper


def regular(size, name="data"):
    path = os.path.join(os.path.dirname(__file__), name)
    with open(path, "wb") as file:
        file.write(b"0123456789" * (size // 10))
    return open(path, "rb")


@app
def regular_file(environ, start_response):
    ok(start_response)
    file = regular(1000000)
    file.seek(5)
    return environ["wsgi.file_wrapper"](file)


@app
def regular_file_short(environ, start_response):
    ok(start_response, ("Content-Length", "7"))
    return environ["wsgi.file_wrapper"](regular(100))


@app
def regular_file_too_short(environ, start_response):
    ok(start_response, ("Content-Length", "200"))
    return environ["wsgi.file_wrapper"](regular(100))


@app
def gzip_file(environ, start_response):
    import gzip
    path = os.path.join(os.path.dirname(__file__), "data.gz")
    with gzip.open(path, "wb") as file:
        file.write(b"unpacked " * 100)
    ok(start_response)
    return environ["wsgi.file_wrapper"](gzip.open(path), 100)


@app
def closed_file(environ, start_response):
    global last_file
    last_file = regular(100)
    ok(start_response)
    return environ["wsgi.file_wrapper"](last_file)


@app
def is_closed(environ, start_response):
    return say(start_response, last_file.closed)


class Instance:
    def __call__(self, environ, start_response):
        return say(start_response, b"instance")


@app
def instance(environ, start_response):
    return Instance()(environ, start_response)


# --- start_response ---

def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return "accepted"


@app
def start_response_rules(environ, start_response):
    class Listing(list):
        pass

    cases = [
        (), ("200 OK",), ("200 OK", ()), ("200 OK", None), ("200 OK", [], 1), ("200 OK", [], []), (b"200 OK", []), (200, []),
        ("200 \u20ac", []), ("2000", []), ("OK", []), ("200 OK\r\nX: y", []), ("100 Continue", []), ("200 OK", [["a", "b"]]),
        ("200 OK", [("a",)]), ("200 OK", [("a", "b", "c")]), ("200 OK", [(b"a", "b")]), ("200 OK", [("a", b"b")]), ("200 OK", [("a", 1)]),
        ("200 OK", [("a", "\u20ac")]), ("200 OK", [("", "b")]), ("200 OK", [("a b", "b")]), ("200 OK", [("a:", "b")]),
        ("200 OK", [("a", "b\r\nc: d")]), ("200 OK", [("a", "b\n")]), ("200 OK", [("a", "\x00")]), ("200 OK", [("Connection", "close")]),
        ("200 OK", [("Content-Length", "x")]), ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("a", "\ud800")]), ("200 OK", [("a", "b")] * 2000), ("200 OK", [("a", "b" * (2 << 20))]),
        ("200 OK", Listing([("A", "b\tc")])), ("200 OK", [], None),
    ]
    seen = [refused(lambda: start_response(*case)) for case in cases]
    ok(start_response)
    return ["\n".join(seen).encode("utf-8", "backslashreplace")]


@app
def replaced(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "1")])
    start_response("200 OK", [("X-Second", "yes")])
    return [b"second"]


@app
def replaced_in_vain(environ, start_response):
    start_response("200 OK", [("X-First", "yes")])
    for headers in [[("X", "a" * (2 << 20))], [("X", "")] * 2000, [("Y", "\n")], [("X-Second", "yes"), ("Connection", "close")]]:
        try:
            start_response("404 Not Found", headers)
        except ValueError:
            pass
    return [b"first"]


@app
def exc_info_before(environ, start_response):
    ok(start_response)
    try:
        raise ValueError("x")
    except ValueError:
        start_response("500 Oops", [("X-Error", "yes")], sys.exc_info())
    return [b"error page"]


@app
def exc_info_after(environ, start_response):
    write = ok(start_response)
    write(b"begun")
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
    return [b"never"]


@app
def start_again(environ, start_response):
    ok(start_response)(b"begun")
    start_response("200 OK", [])
    return []


@app
def write_misuse(environ, start_response):
    write = ok(start_response)
    seen = []
    for value in ("text", bytearray(b"x"), memoryview(b"x"), None, 1):
        try:
            write(value)
        except TypeError as error:
            seen.append("PEP 3333" in str(error))
    return say(start_response, seen)


# --- broken answers ---

@app
def raises(environ, start_response):
    raise ValueError("on purpose \u20ac")


@app
def raises_after_start(environ, start_response):
    ok(start_response)
    raise ValueError("after start")


@app
def raises_while_streaming(environ, start_response):
    ok(start_response)
    yield b"begun"
    raise ValueError("in the middle")


@app
def exits(environ, start_response):
    sys.exit(3)


@app
def interrupted(environ, start_response):
    raise KeyboardInterrupt


@app
def list_of_str(environ, start_response):
    ok(start_response)
    return ["Hello"]


@app
def plain_str(environ, start_response):
    ok(start_response)
    return "Hello"


@app
def plain_bytes(environ, start_response):
    ok(start_response)
    return b"Hello"


@app
def nothing(environ, start_response):
    ok(start_response)


@app
def bytearray_block(environ, start_response):
    ok(start_response)
    return [bytearray(b"x")]


@app
def half_bad(environ, start_response):
    ok(start_response)
    return [b"good", "bad"]


@app
def no_start(environ, start_response):
    return [b"x"]


@app
def no_start_empty(environ, start_response):
    return []


@app
def no_start_generator(environ, start_response):
    yield b"x"


@app
def late_start(environ, start_response):
    yield b""
    ok(start_response)
    yield b"x"


@app
def short(environ, start_response):
    ok(start_response, ("Content-Length", "10"))
    return [b"short"]


@app
def short_stream(environ, start_response):
    ok(start_response, ("Content-Length", "10"))
    yield b"short"


@app
def long(environ, start_response):
    ok(start_response, ("Content-Length", "4"))
    return [b"lo", b"ng", b"er"]


@app
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("Content-Length", "10")])
    return []


# --- logs ---

@app
def logs(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("first\nsec")
    errors.write("ond\n")
    errors.writelines(["a\n", "b\n"])
    print("printed")
    print("to stderr", file=sys.stderr)
    errors.write("unfinished \u20ac \ud800")
    errors.buffer.write(b" bytes\n")
    assert not errors.isatty() and errors.name == "<wsgi.errors>" and sys.stderr.name == "<stderr>"
    try:
        errors.fileno()
    except OSError:
        pass
    else:
        raise AssertionError("fileno")
    errors.write("last words")
    return say(start_response, b"logged")


@app
def logs_after_close(environ, start_response):
    environ["wsgi.errors"].close()
    return say(start_response, environ["wsgi.errors"].closed)


@app
def log_in_thread(environ, start_response):
    thread = threading.Thread(target=lambda: (environ["wsgi.errors"].write("from a thread\n"), print("stray line")))
    thread.start()
    thread.join()
    return say(start_response, b"done")


@app
def log_long(environ, start_response):
    environ["wsgi.errors"].write("x" * 20000 + "\n")
    return say(start_response, b"done")


# --- leaks ---

@app
def blocks(environ, start_response):
    gc.collect()
    return say(start_response, sys.getallocatedblocks())


@app
def refcounts(environ, start_response):
    import mod_wsgi
    return say(start_response, [type(environ["wsgi.input"]).__name__, len(gc.get_objects()) // 1000])
