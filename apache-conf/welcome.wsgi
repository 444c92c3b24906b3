"""What a newcomer wants to see: that it works, as whom, with which Python. Served by `make run` without APP; needs nothing
but the standard library."""

import grp
import html
import os
import platform
import pwd
import sys


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def facts(environ):
    process_group = environ["mod_wsgi.process_group"]
    mode = "daemon, process group “%s”" % process_group if process_group else "embedded in an httpd child"
    in_venv = sys.prefix != sys.base_prefix
    groups = sorted({os.getegid(), *os.getgroups()})
    return [
        ("Mode", mode),
        ("Application group", environ["mod_wsgi.application_group"] or "main interpreter"),
        ("User", "%s (uid %d)" % (user_name(os.geteuid()), os.geteuid())),
        ("Groups", ", ".join(group_name(gid) for gid in groups)),
        ("Process", "%d, started by %d" % (os.getpid(), os.getppid())),
        ("Threads, processes", "%s, %s" % (
            "several" if environ["wsgi.multithread"] else "one",
            "several" if environ["wsgi.multiprocess"] else "one")),
        ("Python", "%s (%s)" % (platform.python_version(), sys.executable)),
        ("Virtual environment", sys.prefix if in_venv else "none, plain %s" % sys.prefix),
        ("Encoding of text and file names", "%s, %s" % (sys.getdefaultencoding(), sys.getfilesystemencoding())),
        ("Server", environ.get("SERVER_SOFTWARE", "")),
        ("Script", environ.get("SCRIPT_FILENAME", "")),
    ]


PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>rwsgi works</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-weight: 600; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #ddd; }}
th {{ font-weight: 500; white-space: nowrap; color: #555; }}
code {{ background: #f3f3f3; padding: .1rem .3rem; }}
</style>
<h1>It works.</h1>
<p>This page is a Python application, served by Apache httpd through rwsgi.</p>
<table>
{rows}
</table>
<p>Serve your own: <code>make run APP=path/to/app.wsgi PYTHON=/path/to/venv</code></p>
"""


def application(environ, start_response):
    rows = "\n".join(
        "<tr><th>%s<td>%s" % (html.escape(name), html.escape(str(value))) for name, value in facts(environ))
    body = PAGE.format(rows=rows).encode("utf-8")
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
