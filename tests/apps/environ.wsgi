"""Answers with its environ as JSON: text as it is, anything else as [type, repr]."""
import json
import os
import sys


def application(environ, start_response):
    shown = {key: value if type(value) is str else [type(value).__name__, repr(value)] for key, value in environ.items()}
    shown["_"] = {
        "type": type(environ).__name__,
        "pid": os.getpid(),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "path": sys.path,
        "argv": getattr(sys, "argv", None),
        "encodings": [sys.getfilesystemencoding(), sys.getdefaultencoding()],
        "utf8_mode": sys.flags.utf8_mode,
        "name": __name__,
        "file": __file__,
        "cwd": os.getcwd(),
        "uid": [os.getuid(), os.geteuid()],
        "gid": [os.getgid(), os.getegid()],
        "groups": sorted(os.getgroups()),
        "environment": dict(os.environ),
    }
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
