"""Who is compared: C code and Python modules in their modes here, others' servers in peers.py."""

from dataclasses import dataclass

import peers
from contender import Contender

# What ceiling.c and files can answer.
OF_C = frozenset({"hello", "headers", "one-client", "body", "chunks", "file", "upload", "sleep"})
OF_LEAST = frozenset({"hello", "headers", "one-client", "body", "django", "flask"})  # no file_wrapper, a few pieces
OF_FILES = frozenset({"hello", "one-client", "body", "file"})
WAITING = frozenset({"hello", "sleep"})  # where it matters that there are more clients than threads


@dataclass(frozen=True)
class Ceiling(Contender):
    """A handler in C that does nothing but answer."""

    def directives(self, server):
        return [
            f'LoadModule ceiling_module "{server.module}"',
            "<Location />",
            "    SetHandler ceiling",
            "</Location>",
        ]


@dataclass(frozen=True)
class Handover(Contender):
    """A handler in C that gets a few bytes from a process in C before it answers."""

    def directives(self, server):
        return [
            f'LoadModule handover_module "{server.module / "mod_handover.so"}"',
            "<Location />",
            "    SetHandler handover",
            "</Location>",
        ]

    def command(self, server):
        return [server.module / "handover_peer", server.socket, str(self.processes), str(self.threads)]


@dataclass(frozen=True)
class LeastEmbedded(Contender):
    """A handler in C that calls the application as plainly as that can be done."""

    def directives(self, server):
        return [
            f'LoadModule least_module "{server.module}"',
            f'LeastPython "{server.setup.python.executable}" "{server.setup.site}" {self.script}',
            "<Location />",
            "    SetHandler least",
            "</Location>",
        ]


@dataclass(frozen=True)
class LeastDaemon(Contender):
    """A handler in C that hands requests to processes in C, which call the application in the same way."""

    def directives(self, server):
        return [
            f'LoadModule least_handover_module "{server.module / "mod_least_handover.so"}"',
            "<Location />",
            "    SetHandler least",
            "</Location>",
        ]

    def command(self, server):
        python, site = server.setup.python.executable, str(server.setup.site)
        peer = [server.module / "least_peer", server.socket, str(self.processes), str(self.threads)]
        return [*peer, python, site, self.script]


@dataclass(frozen=True)
class Static(Contender):
    """httpd's own handler for files."""

    def directives(self, server):
        return [f'DocumentRoot "{server.setup.site}/static"']


@dataclass(frozen=True)
class Module(Contender):
    """A module that runs Python: the original or ours."""

    options: str = ""  # further options of WSGIDaemonProcess
    idle_pools: int = 0  # process groups beside the one that is asked

    def directives(self, server):
        home = server.setup.python.home
        name = "rwsgi_module" if self.family == "rwsgi" else "wsgi_module"
        lines = [
            f'LoadModule {name} "{server.module}"',
            *self.idle(server),
            f'WSGIPythonHome "{home}"',
            f'WSGIScriptAlias / "{server.setup.site}/{self.script}.py"',
            "WSGIApplicationGroup %{GLOBAL}",
            "WSGISocketPrefix run/wsgi",
        ]
        if self.processes:
            group = f"processes={self.processes} threads={self.threads} {self.options}"
            lines.append(f'WSGIDaemonProcess bench {group} python-home="{home}"')
            lines.append("WSGIProcessGroup bench")
        return lines

    def idle(self, server):
        """The lines of process groups that nobody asks. Ours need no process then."""
        home, script = server.setup.python.home, f"{server.setup.site}/{self.script}.py"
        threads = f"processes={self.processes} threads={self.threads}"
        if self.family == "rwsgi":
            threads += " min-processes=0"
        for n in range(self.idle_pools):
            yield f'WSGIDaemonProcess idle{n} {threads} python-home="{home}"'
            yield f'WSGIScriptAlias /idle{n} "{script}" process-group=idle{n} application-group=%{{GLOBAL}}'


def pair(mode, **settings):
    """The original and ours in one mode."""
    theirs = f"mod_wsgi-{mode}"
    yield Module(theirs, "mod_wsgi", mode, peer=theirs, **settings)
    yield Module(f"rwsgi-{mode}", "rwsgi", mode, peer=theirs, **settings)


PRELOAD = Module(
    "rwsgi-daemon-preload", "rwsgi", "daemon-preload", peer="mod_wsgi-daemon", usual=frozenset({"memory"}),
    processes=2, threads=15, options="preload=On",
)  # fmt: skip

BY_NAME = {
    contender.name: contender
    for contender in [
        Ceiling("ceiling", "ceiling", able=OF_C),
        Static("static", "static", able=OF_FILES),
        Handover("handover", "handover", able=frozenset({"hello", "one-client"}), processes=2, threads=25),
        LeastEmbedded("least-embedded", "least-embedded", able=OF_LEAST | {"upload"}),
        LeastDaemon("least-daemon", "least-daemon", able=OF_LEAST, processes=2, threads=25),
        *pair("embedded"),
        *pair("prefork", mpm="prefork", usual=WAITING | {"headers"}),
        *pair("daemon", processes=2, threads=15),
        *pair("daemon-2x2", processes=2, threads=2, usual=WAITING),
        PRELOAD,
        *peers.ALL,
    ]
}
