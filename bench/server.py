"""The private httpd that runs a contender.

Every httpd has the same settings, written here and nowhere else: event MPM, two children of 25 threads (prefork: 18
children), keep-alive without limits, no access log. Only the lines of the contender differ.
"""

import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import own_cpu
from children import end_with_parent
from workloads import CONNECTIONS

CHILDREN = {
    "event": [
        "ServerLimit 2",
        "StartServers 2",
        "ThreadLimit 25",
        "ThreadsPerChild 25",
        "MaxRequestWorkers 50",
        "MinSpareThreads 25",
        "MaxSpareThreads 50",
    ],
    # A child for each connection, and two for those that are just being closed.
    "prefork": [
        f"ServerLimit {CONNECTIONS + 2}",
        f"StartServers {CONNECTIONS + 2}",
        f"MaxRequestWorkers {CONNECTIONS + 2}",
        "MinSpareServers 1",
        f"MaxSpareServers {CONNECTIONS + 2}",
    ],
}
PATIENCE = 30  # seconds for an httpd to answer, and for one to end


class Failed(Exception):
    """The server did not start; the text holds the end of its error log."""


class Server:
    """A private httpd for one contender, what it needs beside it, and the account of their CPU time."""

    def __init__(self, contender, setup, meter):
        self.contender, self.name = contender, contender.name
        self.setup, self.module = setup, setup.modules[contender.family]
        self.root = setup.root / contender.name
        self.socket = self.root / "app" / "socket"  # of what is beside httpd
        self.account = meter.account(contender.name)
        self.processes, self.port = [], None

    def start(self):
        """Starts everything and waits until it answers; raises Failed."""
        for _ in range(5):  # another program may take the port meanwhile
            self.port = free_port()
            self._write_configuration()
            if command := self.contender.command(self):
                self._start(command, self._become_user)
                self._wait_for_socket()
            command = [self.setup.httpd, "-d", str(self.root), "-f", str(self.root / "httpd.conf"), "-DFOREGROUND"]
            self._start(command, lambda: None)
            if self._answers():
                return
            self._end_processes()
            if "could not bind" not in self._last_words():
                break
        raise Failed(f"httpd does not answer: {self._last_words()}")

    def _start(self, command, become):
        def before_exec():
            end_with_parent()
            self.account.enter()
            become()

        with open(self.root / "output", "ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                start_new_session=True, preexec_fn=before_exec,
            )  # fmt: skip
        self.processes.append(process)
        self.account.watch(process.pid)

    def _become_user(self):
        if user := self.setup.user:
            os.setgroups([])
            os.setgid(pwd.getpwnam(user).pw_gid)
            os.setuid(pwd.getpwnam(user).pw_uid)

    def _wait_for_socket(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
                probe.connect(str(self.socket))
                return
            if time.monotonic() > deadline or self.processes[-1].poll() is not None:
                self._end_processes()
                raise Failed(f"{self.name} does not start: {self._last_words()}")
            time.sleep(0.05)

    def cpu_seconds(self):
        """CPU time of the whole server since its start."""
        return self.account.seconds()

    def own_cpu_seconds(self):
        """CPU time that the application in it has spent itself."""
        return own_cpu.seconds(self.setup.site, self.account.pids())

    def stop(self):
        """Ends the server and whatever it started, then removes its account."""
        self._end_processes()
        self.account.close()

    def explain(self, wrong):
        """What went wrong, and what the server has to say about it."""
        return f"{wrong}; its last words: {self._last_words()}"

    def _answers(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.processes[-1].poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request("GET", "/hello")
                connection.getresponse().read()
                return True  # whether it is the right answer is checked with each workload
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()
        return False

    def _end_processes(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + PATIENCE
        while any(process.poll() is None for process in self.processes) or self.account.pids():
            if time.monotonic() > deadline:
                left = self.account.pids()
                print(f"bench: {self.name}: killing what did not end with httpd: {left}", file=sys.stderr)
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                deadline += PATIENCE
            time.sleep(0.05)
        self.processes.clear()

    def _last_words(self):
        lines = []
        for name in ("output", "error.log"):
            path = self.root / name
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()
        return " | ".join(lines[-8:]) or "none"

    def _write_configuration(self):
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "run").mkdir(parents=True)
        self.socket.parent.mkdir()
        if self.setup.user:
            shutil.chown(self.socket.parent, self.setup.user)
        setup = self.setup
        lines = [
            f'ServerRoot "{self.root}"',
            "ServerName 127.0.0.1",
            f"Listen 127.0.0.1:{self.port}",
            "DefaultRuntimeDir run",
            "PidFile run/httpd.pid",
            "ErrorLog error.log",
            "LogLevel warn",
        ]
        for name in (f"mpm_{self.contender.mpm}", "authz_core", "unixd"):  # a module that is not there is compiled in
            path = setup.modules_dir / f"mod_{name}.so"
            lines += [f'LoadModule {name}_module "{path}"'] if path.exists() else []
        lines += user_lines(setup.user)
        lines += [
            *CHILDREN[self.contender.mpm],
            "KeepAlive On",
            "MaxKeepAliveRequests 0",
            "KeepAliveTimeout 60",
            f'DocumentRoot "{setup.site}/public"',
            "<Directory />",
            "    AllowOverride None",
            "    Require all granted",
            "</Directory>",
            *self.contender.directives(self),
        ]
        (self.root / "httpd.conf").write_text("\n".join(lines) + "\n")


def user_lines(user):
    """Who httpd's children are; nothing when the benchmark is not run as root."""
    return [f"User {user}", f"Group #{pwd.getpwnam(user).pw_gid}"] if user else []


def free_port():
    """A port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
