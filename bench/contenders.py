"""Who is compared: modules in their modes."""

from dataclasses import dataclass

OF_C = {"hello", "headers", "one-client", "body", "chunks", "file", "upload", "sleep"}  # what ceiling.c answers
WAITING = {"hello", "sleep"}  # where it matters that there are more clients than threads


@dataclass(frozen=True)
class Contender:
    """A module in a mode. `peer` is the name of the contender it is compared with."""

    name: str
    family: str
    load: str  # the name LoadModule takes
    mode: str = ""
    processes: int = 0  # of a process group; 0: Python runs in httpd's children, or not at all
    threads: int = 0
    options: str = ""  # further options of WSGIDaemonProcess
    script: str = "app.py"
    peer: str = ""
    able: frozenset = None  # the workloads that it can answer; None: all
    usual: frozenset = None  # those in which it takes part when nobody has named it; None: all

    def takes_part(self, workload, named):
        """Whether it is measured in a workload; `named` says that the contenders were chosen by name."""
        if workload.idle and not self.processes:
            return False
        if self.able is not None and workload.name not in self.able:
            return False
        return named or self.usual is None or workload.name in self.usual

    def directives(self, setup):
        """The lines that only this contender has."""
        if self.family == "ceiling":
            return ["<Location />", "    SetHandler ceiling", "</Location>"]
        lines = [
            f'WSGIPythonHome "{setup.python.home}"',
            f'WSGIScriptAlias / "{setup.site}/{self.script}"',
            "WSGIApplicationGroup %{GLOBAL}",
            "WSGISocketPrefix run/wsgi",
        ]
        if self.processes:
            group = f"processes={self.processes} threads={self.threads} {self.options}"
            lines.append(f'WSGIDaemonProcess bench {group} python-home="{setup.python.home}"')
            lines.append("WSGIProcessGroup bench")
        return lines


def pair(mode, **settings):
    """The original and ours in one mode."""
    theirs = f"mod_wsgi-{mode}"
    yield Contender(theirs, "mod_wsgi", "wsgi_module", mode, peer=theirs, **settings)
    yield Contender(f"rwsgi-{mode}", "rwsgi", "rwsgi_module", mode, peer=theirs, **settings)


BY_NAME = {
    contender.name: contender
    for contender in [
        Contender("ceiling", "ceiling", "ceiling_module", able=OF_C),
        *pair("embedded"),
        *pair("daemon", processes=2, threads=15),
        *pair("daemon-2x2", processes=2, threads=2, usual=WAITING),
        Contender(
            "rwsgi-daemon-preload", "rwsgi", "rwsgi_module", "daemon-preload", processes=2, threads=15,
            options="preload=On", peer="mod_wsgi-daemon", usual={"memory"},
        ),
    ]
}  # fmt: skip
