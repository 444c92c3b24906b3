"""The measured application: a table from path to function. ceiling.c answers the same in C."""

import os

HERE = os.path.dirname(__file__)
HELLO = b"Hello, world!\n"
with open(os.path.join(HERE, "body.bin"), "rb") as data:
    BODY = data.read()
PIECES = [BODY[start : start + 100] for start in range(0, 100_000, 100)]
FILE = os.path.join(HERE, "file.bin")


def answer(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, HELLO)


def headers(environ, start_response):
    return answer(start_response, environ["HTTP_COOKIE"].encode("latin-1"))


def body(environ, start_response):
    return answer(start_response, BODY)


def chunks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from PIECES


def file(environ, start_response):
    opened = open(FILE, "rb")
    length = os.fstat(opened.fileno()).st_size
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(length))])
    return environ["wsgi.file_wrapper"](opened, 65536)


def upload(environ, start_response):
    stream, length, pieces = environ["wsgi.input"], 0, []
    echo = environ["QUERY_STRING"] == "echo"
    while piece := stream.read(65536):
        length += len(piece)
        if echo:
            pieces.append(piece)
    return answer(start_response, b"".join(pieces) if echo else str(length).encode())


PATHS = {
    "/hello": hello,
    "/headers": headers,
    "/body": body,
    "/chunks": chunks,
    "/file": file,
    "/upload": upload,
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
