#!/usr/bin/env python3
from wsgiref.handlers import CGIHandler


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"written for CGIHandler\n"]


if __name__ == "__main__":
    CGIHandler().run(application)
