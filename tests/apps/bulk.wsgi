"""Large bodies in one piece, both ways."""
import os
import resource
from urllib.parse import parse_qs

TEXT = [("Content-Type", "application/octet-stream")]


def query(environ):
    return {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}


def echo(environ, start_response):
    """Reads all of its body in pieces of `read` bytes, and answers it in blocks of `block` bytes."""
    asked = query(environ)
    read, stream, pieces = int(asked.get("read", 1 << 30)), environ["wsgi.input"], []
    while piece := stream.read(read):
        pieces.append(piece)
    body = b"".join(pieces)
    block = int(asked.get("block", max(len(body), 1)))
    start_response("200 OK", TEXT)
    return (body[at : at + block] for at in range(0, len(body), block))


def echo_at_once(environ, start_response):
    """Answers while it still reads, each time all that there is."""
    read, stream = int(query(environ)["read"]), environ["wsgi.input"]
    write = start_response("200 OK", TEXT)
    while piece := stream.read(read):
        write(piece)
    return []


def tighten(environ, start_response):
    """Leaves no room for another mapping of a MiB or more."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    start_response("200 OK", TEXT)
    return [b"%d" % limit]


PATHS = {"/echo": echo, "/echo_at_once": echo_at_once, "/tighten": tighten}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
