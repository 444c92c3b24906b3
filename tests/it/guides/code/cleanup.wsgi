"""Something to be done after each answer, and something at the end of the process."""
import atexit
import os


def _application(environ, start_response):
    start_response("200 OK", [("Content-type", "text/plain"), ("Content-Length", "12")])
    return [b"Hello World!"]


class Generator:
    def __init__(self, iterable, callback, environ):
        self.__iterable = iterable
        self.__callback = callback
        self.__environ = environ

    def __iter__(self):
        for item in self.__iterable:
            yield item

    def close(self):
        try:
            if hasattr(self.__iterable, "close"):
                self.__iterable.close()
        finally:
            self.__callback(self.__environ)


class ExecuteOnCompletion:
    def __init__(self, application, callback):
        self.__application = application
        self.__callback = callback

    def __call__(self, environ, start_response):
        try:
            result = self.__application(environ, start_response)
        except:
            self.__callback(environ)
            raise
        return Generator(result, self.__callback, environ)


def touch(name):
    open(os.path.join(DATA, name), "w").close()


DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "data")
application = ExecuteOnCompletion(_application, lambda environ: touch("after"))
atexit.register(touch, "end")
