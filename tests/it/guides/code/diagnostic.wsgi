import sys

def application(environ, start_response):
    lines = [
        "mod_wsgi.process_group     = %r" % environ["mod_wsgi.process_group"],
        "mod_wsgi.application_group = %r" % environ["mod_wsgi.application_group"],
        "wsgi.multithread           = %r" % environ["wsgi.multithread"],
        "wsgi.multiprocess          = %r" % environ["wsgi.multiprocess"],
        "sys.version                = %r" % sys.version,
        "sys.prefix                 = %r" % sys.prefix,
        "sys.path                   = %r" % sys.path,
    ]
    body = ("\n".join(lines) + "\n").encode("utf-8")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
