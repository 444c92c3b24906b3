#!/usr/bin/env python3


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"written for flup\n"]


if __name__ == "__main__":
    from flup.server.fcgi import WSGIServer

    WSGIServer(app).run()
