"""Answers with what the configuration made of this interpreter, as JSON. With ?name=value it first sets os.environ[name]."""
import json
import os
import signal
import sys
import warnings
from urllib.parse import parse_qsl


def tried(what):
    try:
        return repr(what())
    except BaseException as error:
        return type(error).__name__ + ": " + str(error)


def asserts():
    assert False, "asserts are on"
    return "off"


def documented():
    """documented"""


def application(environ, start_response):
    for name, value in parse_qsl(environ["QUERY_STRING"]):
        os.environ[name] = value
    answer = {
        "pid": os.getpid(),
        "group": environ["mod_wsgi.application_group"],
        "version": list(sys.version_info[:2]),
        "module": __name__,
        "optimize": sys.flags.optimize,
        "asserts": tried(asserts),
        "doc": documented.__doc__,
        "dont_write_bytecode": sys.dont_write_bytecode,
        "warnoptions": sys.warnoptions,
        "warned": tried(lambda: warnings.warn("a warning", UserWarning)) if "error::UserWarning" in sys.warnoptions else "",
        "hash": hash("rwsgi"),
        "hash_randomization": sys.flags.hash_randomization,
        "interval": sys.getswitchinterval(),
        "path": sys.path,
        "environ": dict(os.environ),
        "stdin": tried(lambda: sys.stdin.read),
        "stdout": tried(lambda: sys.stdout.write),
        "argv": sys.argv,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
