"""Counts its requests in a module global, so that a test sees which interpreter and which process it was in."""
import json
import os
import sys

count = 0
sys.loaded = getattr(sys, "loaded", 0) + 1


def application(environ, start_response):
    global count
    count += 1
    answer = {
        "count": count,
        "loaded": sys.loaded,
        "pid": os.getpid(),
        "process_group": environ["mod_wsgi.process_group"],
        "application_group": environ["mod_wsgi.application_group"],
        "version": list(sys.version_info[:2]),
        "prefix": sys.prefix,
    }
    try:
        import marker

        answer["marker"] = marker.NAME
    except ImportError:
        pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
