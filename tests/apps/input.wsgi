"""Reads wsgi.input as the query string says, and does the same to an io.BytesIO of the body in X-Body (base64, or
`@file` for the file `body` of the data directory).

The query is a list like `read:3,readline:,readlines:5,iter:,next:`; a missing number calls without argument.
"""
import base64
import io
import json
import os

DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")


def shown(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list):
        return [shown(item) for item in value]
    raise TypeError(f"{type(value).__name__} came out")


def play(stream, steps):
    results = []
    for step in steps:
        name, _, number = step.partition(":")
        arguments = [int(number)] if number else []
        if name == "iter":
            results.append(shown(list(stream)))
        elif name == "next":
            results.append(shown(next(iter(stream), b"<end>")))
        else:
            results.append(shown(getattr(stream, name)(*arguments)))
    return results


def steps(environ):
    script = [step for step in environ["QUERY_STRING"].split(",") if step]
    body = environ.get("HTTP_X_BODY", "")
    if body == "@file":
        with open(os.path.join(DATA, "body"), "rb") as file:
            oracle = io.BytesIO(file.read())
    else:
        oracle = io.BytesIO(base64.b64decode(body))
    return {"seen": play(environ["wsgi.input"], script), "oracle": play(oracle, script)}


def refused_arguments(environ):
    """Which calls raise what."""
    stream = environ["wsgi.input"]
    calls = {
        "read(None)": lambda: stream.read(None),
        "read('x')": lambda: stream.read("x"),
        "readline('x')": lambda: stream.readline("x"),
    }
    outcome = {}
    for name, call in calls.items():
        try:
            call()
            outcome[name] = "no error"
        except Exception as error:
            outcome[name] = type(error).__name__
    return outcome


kept = []


def keep(environ):
    """Keeps the stream for the next request, which must not be able to read from it."""
    kept.append(environ["wsgi.input"])
    return "kept"


def read_kept(environ):
    try:
        return repr(kept.pop().read())
    except Exception as error:
        return type(error).__name__


def length(environ):
    return len(environ["wsgi.input"].read())


def beginning(environ):
    """Reads only the beginning, and answers at length."""
    return shown(environ["wsgi.input"].read(1000)) + "." * (8 << 20)


def interrupted(environ):
    try:
        return len(environ["wsgi.input"].read())
    except OSError as error:
        with open(os.path.join(DATA, "interrupted"), "w") as note:
            note.write(f"{type(error).__name__}: {error}")
        raise


PATHS = {
    "/steps": steps,
    "/refused_arguments": refused_arguments,
    "/keep": keep,
    "/read_kept": read_kept,
    "/length": length,
    "/beginning": beginning,
    "/interrupted": interrupted,
    "/ignored": lambda environ: "ignored",
}


def application(environ, start_response):
    body = json.dumps(PATHS[environ["PATH_INFO"]](environ)).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
