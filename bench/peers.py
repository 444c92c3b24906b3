"""Others' servers behind httpd, each with the settings that were the cheapest of those tried, keep-alive on."""

from dataclasses import dataclass

from contender import Contender


@dataclass(frozen=True)
class Proxied(Contender):
    """A server that mod_proxy passes requests to over a unix socket, with persistent connections."""

    def directives(self, server):
        modules = server.setup.modules_dir
        return [
            f'LoadModule proxy_module "{modules}/mod_proxy.so"',
            f'LoadModule proxy_http_module "{modules}/mod_proxy_http.so"',
            "ProxyPreserveHost On",
            f'ProxyPass "/" "unix:{server.socket}|http://localhost/" enablereuse=on',
        ]


@dataclass(frozen=True)
class Gunicorn(Proxied):
    """Threaded workers, the only kind of gunicorn's own that keeps connections."""

    def command(self, server):
        return [
            f"{server.setup.python.home}/bin/gunicorn", "--worker-class", "gthread", "--keep-alive", "75",
            "--workers", str(self.processes), "--threads", str(self.threads), "--bind", f"unix:{server.socket}",
            "--chdir", str(server.setup.site), "--worker-tmp-dir", "/dev/shm", "--no-control-socket",
            "--log-level", "warning", f"{self.script}:application",
        ]  # fmt: skip


@dataclass(frozen=True)
class Granian(Proxied):
    """HTTP/1 only, which is what mod_proxy speaks."""

    def command(self, server):
        return [
            f"{server.setup.python.home}/bin/granian", "--interface", "wsgi", "--http", "1", "--no-ws",
            "--workers", str(self.processes), "--blocking-threads", str(self.threads), "--uds", str(server.socket),
            "--working-dir", str(server.setup.site), "--log-level", "warning", f"{self.script}:application",
        ]  # fmt: skip


@dataclass(frozen=True)
class Uwsgi(Contender):
    """By its own protocol, which has a connection for each request."""

    listen = "--socket"

    def directives(self, server):
        modules = server.setup.modules_dir
        return [
            f'LoadModule proxy_module "{modules}/mod_proxy.so"',
            f'LoadModule proxy_uwsgi_module "{modules}/mod_proxy_uwsgi.so"',
            f'ProxyPass "/" "unix:{server.socket}|uwsgi://localhost/"',
        ]

    def command(self, server):
        return [
            f"{server.setup.python.home}/bin/uwsgi", "--master", "--die-on-term", "--disable-logging", "--thunder-lock",
            "--processes", str(self.processes), "--enable-threads", "--threads", str(self.threads),
            self.listen, str(server.socket), "--chmod-socket=600", "--chdir", str(server.setup.site),
            "--home", server.setup.python.home, "--need-app", "--module", f"{self.script}:application",
        ]  # fmt: skip


@dataclass(frozen=True)
class UwsgiHttp(Uwsgi):
    """By HTTP/1.1 with persistent connections. It is cheaper, but an answer without Content-Length never ends."""

    listen = "--http11-socket"
    directives = Proxied.directives


@dataclass(frozen=True)
class Passenger(Contender):
    """The module of Debian's package. Its free edition has no threads: as many processes as there may be requests."""

    def directives(self, server):
        user = server.setup.user
        return [
            f'LoadModule passenger_module "{server.module}"',
            f'PassengerRoot "{server.setup.passenger_root}"',
            f'PassengerInstanceRegistryDir "{server.socket.parent}"',  # Passenger's own processes are not root's
            f'PassengerDataBufferDir "{server.socket.parent}"',
            "PassengerDisableSecurityUpdateCheck On",
            "PassengerUserSwitching Off",
            *([f"PassengerDefaultUser {user}"] if user else []),
            "PassengerAppType wsgi",
            f'PassengerStartupFile "{self.script}.py"',
            f'PassengerAppRoot "{server.setup.site}"',
            f'PassengerPython "{server.setup.python.executable}"',
            f"PassengerMaxPoolSize {self.processes}",
            f"PassengerMinInstances {self.processes}",
        ]


LIKE_DAEMON = {"processes": 2, "threads": 15}  # as the process groups that they are compared with

WITH_LENGTH = frozenset({"hello", "headers", "one-client", "body", "file", "upload", "sleep", "django", "flask"})

ALL = [
    Gunicorn("gunicorn", "gunicorn", **LIKE_DAEMON),
    Granian("granian", "granian", **LIKE_DAEMON),
    Uwsgi("uwsgi", "uwsgi", **LIKE_DAEMON),
    UwsgiHttp("uwsgi-http", "uwsgi", able=WITH_LENGTH, **LIKE_DAEMON),
    Passenger("passenger", "passenger", processes=16, threads=1),
]
