"""The measured application: a table from path to function. ceiling.c answers the same in C."""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
HELLO = b"Hello, world!\n"
with open(os.path.join(HERE, "body.bin"), "rb") as data:
    BODY = data.read()
with open(os.path.join(HERE, "headers.txt"), encoding="latin-1") as lines:
    HEADERS = [tuple(line.rstrip("\n").split(": ", 1)) for line in lines]
PIECE = 1024
PIECES = [BODY[start : start + PIECE] for start in range(0, 1000 * PIECE, PIECE)]
FILE = os.path.join(HERE, "file.bin")
PAUSE = 0.25
SIZES = {}  # bodies of other sizes, once asked for


def answer(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, HELLO)


def headers(environ, start_response):
    body = environ["HTTP_COOKIE"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *HEADERS])
    return [body]


def body(environ, start_response):
    return answer(start_response, BODY)


def size(environ, start_response):
    length = int(environ["QUERY_STRING"])
    if length not in SIZES:
        SIZES[length] = (BODY * (length // len(BODY) + 1))[:length]
    return answer(start_response, SIZES[length])


def chunks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["QUERY_STRING"] == "pause":
        yield PIECES[0]
        time.sleep(PAUSE)
        yield from PIECES[1:]
    else:
        yield from PIECES


def file(environ, start_response):
    opened = open(FILE, "rb")
    length = os.fstat(opened.fileno()).st_size
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(length))])
    if "wsgi.file_wrapper" in environ:  # not every server has it
        return environ["wsgi.file_wrapper"](opened, 65536)
    return blocks(opened)


def blocks(opened):
    with opened:
        while block := opened.read(65536):
            yield block


def upload(environ, start_response):
    stream, length, pieces = environ["wsgi.input"], 0, []
    echo = environ["QUERY_STRING"] == "echo"
    while piece := stream.read(65536):
        length += len(piece)
        if echo:
            pieces.append(piece)
    return answer(start_response, b"".join(pieces) if echo else str(length).encode())


def sleep(environ, start_response):
    time.sleep(0.005)
    return answer(start_response, HELLO)


def django(environ, start_response):
    import views  # only workers that are asked for it pay for the import

    return views.django(environ, start_response)


def flask(environ, start_response):
    import views

    return views.flask(environ, start_response)


def pid(environ, start_response):
    time.sleep(0.05)  # so that others are asked, too
    return answer(start_response, str(os.getpid()).encode())


PATHS = {
    "/hello": hello,
    "/headers": headers,
    "/body": body,
    "/size": size,
    "/chunks": chunks,
    "/file": file,
    "/upload": upload,
    "/sleep": sleep,
    "/django": django,
    "/flask": flask,
    "/pid": pid,
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
