"""A view of Django and one of Flask, each a template with ten rows, and the CPU time that they spend themselves.

The time is that of the thread while the framework runs: its call, and its close(). What the server does in
start_response does not count, because that is called afterwards; what measuring itself costs does, for the server is
not to blame for it. The sum of all threads is kept in own/PID, a file that the benchmark reads before and after each
measurement (own_cpu.py).
"""

import mmap
import os
import struct
import threading
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.shortcuts import render
from django.urls import path
from flask import Flask, render_template_string

OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own")
ROWS = [f"row {number}" for number in range(10)]
TEMPLATE = "<ul>{% for row in rows %}<li>{{ row }}</li>{% endfor %}</ul>"


class Account:
    """The CPU time of the framework in this process, as one double in a file."""

    def __init__(self):
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self):
        self.lock, self.total, self.shown = threading.Lock(), 0.0, None

    def add(self, seconds):
        with self.lock:
            if self.shown is None:
                with open(os.path.join(OWN, str(os.getpid())), "wb+") as file:
                    file.truncate(8)
                    self.shown = mmap.mmap(file.fileno(), 8)
            self.total += seconds
            struct.pack_into("d", self.shown, 0, self.total)


ACCOUNT = Account()


class Answer:
    """What the framework returned, handed on as it is, but for close()."""

    def __init__(self, blocks, spent):
        self.blocks, self.spent = blocks, spent

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        began = time.thread_time()
        if hasattr(self.blocks, "close"):
            self.blocks.close()
        ACCOUNT.add(self.spent + time.thread_time() - began)


def measured(application, measuring=0.0):
    """The application with its own CPU time added to the account, and what measuring costs for each request."""

    def call(environ, start_response):
        said = []
        began = time.thread_time()
        blocks = application(environ, lambda *answer: said.append(answer))
        spent = time.thread_time() - began + measuring
        start_response(*said[0])
        return Answer(blocks, spent)

    return call


def cost_of_measuring(requests=2000):
    """CPU seconds for each request that measured() spends beside what it measures, of an application without work."""
    call = measured(lambda environ, start_response: start_response("200 OK", []) or [b""])
    ACCOUNT.add(0.0)  # opens the file
    began, before = time.thread_time(), ACCOUNT.total
    for _ in range(requests):
        answer = call({}, lambda status, headers: None)
        for _block in answer:
            pass
        answer.close()
    return (time.thread_time() - began - (ACCOUNT.total - before)) / requests


MEASURING = cost_of_measuring()

settings.configure(
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"rows.html": TEMPLATE})]},
        }
    ],
)
urlpatterns = [path("django", lambda request: render(request, "rows.html", {"rows": ROWS}))]
django = measured(get_wsgi_application(), MEASURING)

site = Flask(__name__)
site.route("/flask")(lambda: render_template_string(TEMPLATE, rows=ROWS))
flask = measured(site, MEASURING)
