"""An application that prints to wsgi.errors, in middleware that pretty-prints environ and answer there."""
import pprint


def application(environ, start_response):
    print("application debug #1", file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-type", "text/plain"), ("Content-Length", "12")])
    print("application debug #2", file=environ["wsgi.errors"])
    return [b"Hello World!"]


class LoggingMiddleware:
    def __init__(self, application):
        self.__application = application

    def __call__(self, environ, start_response):
        errors = environ["wsgi.errors"]
        pprint.pprint(("REQUEST", environ), stream=errors)

        def _start_response(status, headers, *args):
            pprint.pprint(("RESPONSE", status, headers), stream=errors)
            return start_response(status, headers, *args)

        return self.__application(environ, _start_response)


application = LoggingMiddleware(application)
