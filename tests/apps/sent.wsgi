"""Answers with bytes of the test's choice: `?byte=` goes where the path says."""
import os
import random
import threading
from urllib.parse import parse_qs

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = ("Content-Type", "text/plain")


def asked(environ, name, default=""):
    return parse_qs(environ["QUERY_STRING"], keep_blank_values=True).get(name, [default])[0]


def byte(environ):
    return chr(int(asked(environ, "byte", "65")))


def in_name(environ, start_response):
    start_response("200 OK", [TEXT, ("X-A" + byte(environ) + "B", "v"), ("X-After", "yes")])
    return [b"body"]


def in_value(environ, start_response):
    start_response("200 OK", [TEXT, ("X-Value", "a" + byte(environ) + "X-Evil: 1"), ("X-After", "yes")])
    return [b"body"]


def in_reason(environ, start_response):
    start_response("200 a" + byte(environ) + "X-Evil: 1", [TEXT, ("X-After", "yes")])
    return [b"body"]


def in_type(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain" + byte(environ) + "X-Evil: 1"), ("X-After", "yes")])
    return [b"body"]


def header(environ, start_response):
    """One header and status as the query says."""
    name, value = asked(environ, "name"), asked(environ, "value")
    start_response(asked(environ, "status", "200 OK"), [TEXT, (name, value)])
    return [b"the body"]


def length(environ, start_response):
    """So many bytes under such a Content-Length."""
    declared = [("Content-Length", value) for value in parse_qs(environ["QUERY_STRING"]).get("declared", [])]
    start_response(asked(environ, "status", "200 OK"), [TEXT] + declared)
    return [b"x" * int(asked(environ, "sent", "0"))]


def temporary(environ, start_response):
    """Headers made of strings that nobody keeps, while other threads use the memory again."""
    name = asked(environ, "name")
    start_response("200 " + "".join(reversed(name)), [("Content-Type", "text/x-" + name), ("X-Name", name * 20)])
    junk = [("%d" % random.getrandbits(4000)) for _ in range(20)]
    del junk
    yield ("%s %d" % (name, threading.get_ident() * 0)).encode()


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
