"""Everything goes through wsgiref's validator, which raises when the server breaks PEP 3333."""
from wsgiref.validate import validator


def application(environ, start_response):
    # The validator wants read() with exactly one argument.
    body = environ["wsgi.input"].read(1000000)
    lines = environ["wsgi.input"].readline()
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/generator":
        return (piece for piece in [b"read ", b"%d" % len(body + lines)])
    return [b"read ", b"%d" % len(body + lines)]


application = validator(application)
