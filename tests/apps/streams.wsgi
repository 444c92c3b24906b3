"""Large bodies both ways, and applications that die while they answer."""
import hashlib
import os
import signal
import time
from urllib.parse import parse_qs

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = [("Content-Type", "application/octet-stream")]
PIECE = bytes(range(256)) * 256  # 64 KiB


def note(name, text="x"):
    with open(os.path.join(DATA, name), "a") as file:
        file.write(text)


def number(environ, name, default):
    return int(parse_qs(environ["QUERY_STRING"], keep_blank_values=True).get(name, [default])[0])


def pieces(total):
    while total > 0:
        piece = PIECE[:total]
        total -= len(piece)
        yield piece


def down(environ, start_response):
    total = number(environ, "bytes", 1000)
    headers = TEXT + ([("Content-Length", str(total))] if "&length" in environ["QUERY_STRING"] else [])
    start_response("200 OK", headers)
    return pieces(total)


def up(environ, start_response):
    digest, total = hashlib.sha1(), 0
    while True:
        piece = environ["wsgi.input"].read(65536)
        if not piece:
            break
        digest.update(piece)
        total += len(piece)
    start_response("200 OK", TEXT)
    return [b"%d %s" % (total, digest.hexdigest().encode())]


def ignore_and_answer(environ, start_response):
    """Does not read its body, however long, and answers at length."""
    start_response("200 OK", TEXT)
    return pieces(number(environ, "bytes", 1000))


def echo(environ, start_response):
    """Answers while it still reads."""
    start_response("200 OK", TEXT)
    while True:
        piece = environ["wsgi.input"].read(10000)
        if not piece:
            return
        yield piece


def chunks(environ, start_response):
    start_response("200 OK", TEXT)
    for index in range(number(environ, "count", 1000)):
        yield b"piece %d\n" % index


def count_pieces(environ, start_response):
    """An endless answer; how far it came is in a file when it ends."""
    start_response("200 OK", TEXT)

    def endless():
        count = 0
        try:
            while True:
                count += 1
                yield PIECE
                with open(os.path.join(DATA, "sent"), "w") as file:
                    file.write(str(count))
        finally:
            note("ended")

    return endless()


def slow_compute(environ, start_response):
    """Says nothing for as long as the test wants."""
    note("started")
    while not os.path.exists(os.path.join(DATA, "go")):
        time.sleep(0.01)
    start_response("200 OK", TEXT)
    return [b"done"]


def die(environ, start_response):
    """Dies as `how` says after `bytes` bytes of answer, with or without a Content-Length."""
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    total = number(environ, "bytes", 0)
    how = query["how"][0]
    headers = TEXT + ([("Content-Length", str(total + 1000))] if "length" in query else [])
    note("ran")

    def last():
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif how == "exit":
            os._exit(3)
        elif how == "raise":
            raise ValueError("the application fails")
        time.sleep(10)

    if total == 0:
        if "started" in query:
            start_response("200 OK", headers)
        last()

    start_response("200 OK", headers)

    def body():
        yield from pieces(total)
        if "wait" in query:
            while not os.path.exists(os.path.join(DATA, "go")):
                time.sleep(0.01)
        last()

    return body()


def pid(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"%d" % os.getpid()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
