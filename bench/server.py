"""The private httpd that runs a contender.

Every httpd has the same settings, written here and nowhere else: event MPM, two children of 25 threads, keep-alive
without limits, no access log. Only the lines of the contender differ.
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

PATIENCE = 30  # seconds for an httpd to answer, and for one to end


class Failed(Exception):
    """The server did not start; the text holds the end of its error log."""


class Server:
    """A private httpd for one contender, and the account of its CPU time."""

    def __init__(self, contender, module, setup, meter):
        self.contender, self.name = contender, contender.name
        self.module, self.setup = module, setup
        self.root = setup.root / contender.name
        self.account = meter.account(contender.name)
        self.process = self.port = None

    def start(self):
        """Starts httpd and waits until it answers; raises Failed."""
        for _ in range(5):  # another program may take the port meanwhile
            self.port = free_port()
            self._write_configuration()
            command = [self.setup.httpd, "-d", str(self.root), "-f", str(self.root / "httpd.conf"), "-DFOREGROUND"]
            with open(self.root / "output", "wb") as out:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"},
                    start_new_session=True, preexec_fn=self._before_exec,
                )  # fmt: skip
            self.account.watch(self.process.pid)
            if self._answers():
                return
            self._end_processes()
            if "could not bind" not in self._last_words():
                break
        raise Failed(f"httpd does not answer: {self._last_words()}")

    def cpu_seconds(self):
        """CPU time of the whole server since its start."""
        return self.account.seconds()

    def own_cpu_seconds(self):
        """CPU time that the application in it has spent itself."""
        return own_cpu.seconds(self.setup.site, self.account.pids())

    def stop(self):
        """Ends the server and whatever it started, then removes its account."""
        if self.process:
            self._end_processes()
        self.account.close()

    def explain(self, wrong):
        """What went wrong, and what the server has to say about it."""
        return f"{wrong}; its last words: {self._last_words()}"

    def _before_exec(self):
        end_with_parent()
        self.account.enter()

    def _answers(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
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
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None or self.account.pids():
            if time.monotonic() > deadline:
                left = self.account.pids()
                print(f"bench: {self.name}: killing what did not end with httpd: {left}", file=sys.stderr)
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                deadline += PATIENCE
            time.sleep(0.05)

    def _last_words(self):
        lines = []
        for name in ("output", "error.log"):
            path = self.root / name
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()
        return " | ".join(lines[-4:]) or "none"

    def _write_configuration(self):
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "run").mkdir(parents=True)
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
        for name in ("mpm_event", "authz_core", "unixd"):  # a module that is not there is compiled in
            path = setup.modules_dir / f"mod_{name}.so"
            lines += [f'LoadModule {name}_module "{path}"'] if path.exists() else []
        lines += user_lines(setup.user)
        lines += [
            "ServerLimit 2",
            "StartServers 2",
            "ThreadLimit 25",
            "ThreadsPerChild 25",
            "MaxRequestWorkers 50",
            "MinSpareThreads 25",
            "MaxSpareThreads 50",
            "KeepAlive On",
            "MaxKeepAliveRequests 0",
            "KeepAliveTimeout 60",
            f'DocumentRoot "{setup.site}"',
            "<Directory />",
            "    AllowOverride None",
            "    Require all granted",
            "</Directory>",
            f'LoadModule {self.contender.load} "{self.module}"',
            *self.contender.directives(setup),
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
