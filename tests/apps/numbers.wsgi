"""Writes each request's number into a ledger before it answers; dies on some of them."""
import os
import signal

LEDGER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "ledger")


def application(environ, start_response):
    number = environ["QUERY_STRING"]
    book = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(book, (number + "\n").encode())
    os.close(book)
    if environ["PATH_INFO"] == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [number.encode()]
