"""Middleware that keeps what came in and what went out: it hands the application a file as wsgi.input, and itself as start_response."""
import os
import pprint
import threading
import time


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    write = start_response("200 OK", [("Content-type", "text/plain")])
    write(body[:2].upper())
    return iter([body[2:].upper()])


class Kept:
    def __init__(self, start_response, headers, content):
        self.__start_response = start_response
        self.__headers = headers
        self.__content = content

    def __call__(self, status, headers, *args):
        pprint.pprint((status, headers) + args, stream=self.__headers)
        self.__headers.close()
        self.__write = self.__start_response(status, headers, *args)
        return self.write

    def __iter__(self):
        return self

    def write(self, data):
        self.__content.write(data)
        self.__content.flush()
        return self.__write(data)

    def __next__(self):
        data = next(self.__iterable)
        self.__content.write(data)
        self.__content.flush()
        return data

    def close(self):
        if hasattr(self.__iterable, "close"):
            self.__iterable.close()
        self.__content.close()

    def link(self, iterable):
        self.__iterable = iter(iterable)


class Keeper:
    def __init__(self, application):
        self.__application = application
        self.__lock = threading.Lock()
        self.__count = 0

    def __call__(self, environ, start_response):
        with self.__lock:
            self.__count += 1
            count = self.__count
        key = os.path.join(environ["keep.in"], "%s-%s-%s" % (time.time(), os.getpid(), count))
        with open(key + ".iheaders", "w") as file:
            pprint.pprint(environ, stream=file)
        content = open(key + ".icontent", "w+b")
        length = int(environ.get("CONTENT_LENGTH", "0"))
        while length != 0:
            data = environ["wsgi.input"].read(min(4096, length))
            if data:
                content.write(data)
                length -= len(data)
            else:
                length = 0
        content.flush()
        content.seek(0, os.SEEK_SET)
        environ["wsgi.input"] = content
        kept = Kept(start_response, open(key + ".oheaders", "w"), open(key + ".ocontent", "w+b"))
        kept.link(self.__application(environ, kept))
        return kept


application = Keeper(application)
