"""Answers whose headers may be directions to httpd, one path each."""
import json
import os
from urllib.parse import parse_qs

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")
TEXT = [("Content-Type", "text/plain")]


def asked(environ, name, default=""):
    return parse_qs(environ["QUERY_STRING"]).get(name, [default])[0]


def go(environ, start_response):
    """Status and Location as the query says."""
    headers = [("Location", asked(environ, "to")), ("Content-Type", asked(environ, "type", "text/plain"))]
    headers += [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Mark", "of the first answer")]
    start_response(asked(environ, "status", "200 OK"), headers)
    return [b"the body of the first answer"]


def go_streaming(environ, start_response):
    """The rest of the answer never ends."""
    start_response("200 OK", [("Location", asked(environ, "to"))])
    try:
        while True:
            yield b"x" * 65536
    finally:
        with open(os.path.join(DATA, "ended"), "a") as file:
            file.write("x")


def status(environ, start_response):
    start_response("200 OK", TEXT + [("Status", asked(environ, "status"))])
    return [b"a body"]


def error(environ, start_response):
    headers = TEXT + [("X-Mark", "of the application"), ("Set-Cookie", "a=1"), ("Content-Length", "14")]
    start_response(asked(environ, "status"), headers + [("WWW-Authenticate", 'Basic realm="here"')])
    return [b"the app's words"[:14]]


def error_streaming(environ, start_response):
    start_response("404 Not Found", TEXT)
    return go_streaming(environ, lambda *_: None)


def echo(environ, start_response):
    names = ["REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REDIRECT_URL", "CONTENT_LENGTH", "HTTP_COOKIE"]
    shown = {name: environ.get(name) for name in names}
    shown["body"] = environ["wsgi.input"].read().decode("latin-1")
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Echo", "yes")])
    return [json.dumps(shown).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
