"""What is asked of each contender, what the right answer is, and whether it was given."""

import concurrent.futures
import hashlib
import http.client
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
KIB, MIB = 1 << 10, 1 << 20
CONNECTIONS = 16
PIECES, PIECE = 1000, KIB
HELLO = b"Hello, world!\n"
BODY = random.Random(1).randbytes(MIB)
FILE = BODY * 16
ROWS = "<ul>" + "".join(f"<li>row {number}</li>" for number in range(10)) + "</ul>"

# What a browser sends with a request for a page, beside Host: 0.7 KiB.
BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://www.example.org/accounts/overview?page=2&sort=newest",
    "Cookie": "sessionid=" + "k3" * 32 + "; csrftoken=" + "Qz" * 32 + "; consent=analytics%3Dno%26ads%3Dno; theme=dark",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Cache-Control": "max-age=0",
}

# What an application with a few middlewares answers beside Content-Type and Content-Length: 1 KiB.
ANSWER_HEADERS = [
    ("Cache-Control", "private, max-age=0, must-revalidate"),
    ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Pragma", "no-cache"),
    ("Vary", "Accept-Encoding, Accept-Language, Cookie"),
    ("Content-Language", "en-gb"),
    ("ETag", '"5e2f-60c1a9b7d3c40"'),
    ("Set-Cookie", "csrftoken=" + "Qz" * 32 + "; Path=/; SameSite=Lax; Secure"),
    ("Set-Cookie", "sessionid=" + "k3" * 16 + "; HttpOnly; Path=/; SameSite=Lax; Secure"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Request-Id", "0d1f7c52-6b0e-4b8e-9a0b-6f5a3c2e1d47"),
    ("X-Robots-Tag", "noindex"),
    ("Server-Timing", "db;dur=2.1, view;dur=4.7"),
    ("Link", "</static/site.css>; rel=preload; as=style"),
]


@dataclass(frozen=True)
class Workload:
    """One kind of request. `upload` is sent as the body; `answer` is what must come back while measuring."""

    name: str
    title: str
    answer: bytes = b""
    headers: dict = field(default_factory=dict)
    upload: bytes = b""
    answer_headers: tuple = ()  # that must come back, beside others
    target: str = ""  # the request target; that of the name when empty
    connections: int = CONNECTIONS
    sleep_ms: float = 0  # what the application sleeps
    framework: bool = False  # the application says what it has spent itself
    latency: bool = False  # how long an answer takes is compared, too
    idle: bool = False  # nothing is asked: the memory of the workers is measured

    @property
    def path(self):
        """The request target, without the query that asks for a fuller answer."""
        return self.target or f"/{self.name}"

    def check(self, port):
        """Asks on all connections at once, several times each; returns what was wrong, or None."""
        with concurrent.futures.ThreadPoolExecutor(self.connections) as clients:
            wrong = [w for w in clients.map(lambda _: self._check_connection(port), range(self.connections)) if w]
        return wrong[0] if wrong else None

    def _check_connection(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            for path, expected in self._questions():
                connection.request("POST" if self.upload else "GET", path, self.upload or None, self.headers)
                response = connection.getresponse()
                wrong = difference(response.status, response.read(), expected)
                missing = comparable(self.answer_headers) - comparable(response.getheaders())
                if not wrong and missing:
                    wrong = f"without {len(missing)} of its headers, like {min(missing)}"
                if wrong:
                    return f"GET {path}: {wrong}"
        except (OSError, http.client.HTTPException) as error:
            return f"{self.path}: {type(error).__name__}: {error}"
        finally:
            connection.close()
        return None

    def _questions(self):
        # While measuring, the upload is answered with its length only; here the application sends it back.
        if self.upload:
            yield f"{self.path}?echo", self.upload
        yield self.path, self.answer
        yield self.path, self.answer


def comparable(headers):
    """Headers without what httpd and others may change: the case of names, spaces in lists."""
    return {(name.lower(), value.replace(" ", "")) for name, value in headers}


def late(port):
    """Whether the first of the chunks reaches the client only together with those that follow after a pause."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/chunks?pause")
        response = connection.getresponse()
        response.read(PIECE)
        first = time.monotonic()
        response.read()
        return time.monotonic() - first < 0.1  # the application pauses for 0.25 s
    finally:
        connection.close()


def difference(status, body, expected):
    """How an answer differs from the expected one: by status, by length or by hash; None when it does not."""
    if status != 200:
        return f"status {status} instead of 200"
    if len(body) != len(expected):
        return f"{len(body)} bytes instead of {len(expected)}"
    got, wanted = (hashlib.sha256(data).hexdigest()[:16] for data in (body, expected))
    return None if got == wanted else f"the right length, but sha256 {got}… instead of {wanted}…"


def write_site(site):
    """The application and its data, where any user may read them, and a directory where any worker may write."""
    site.mkdir()
    for name in ("app.py", "loaded.py", "views.py"):
        shutil.copyfile(HERE / name, site / name)
    (site / "body.bin").write_bytes(BODY)
    (site / "file.bin").write_bytes(FILE)
    (site / "headers.txt").write_text("".join(f"{name}: {value}\n" for name, value in ANSWER_HEADERS))
    (site / "public").mkdir()  # nothing that httpd could serve itself
    (site / "static").mkdir()  # the answers as files
    (site / "static" / "hello").write_bytes(HELLO)
    (site / "static" / "body").hardlink_to(site / "body.bin")
    (site / "static" / "file").hardlink_to(site / "file.bin")
    for path in [site, *site.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (site / "own").mkdir()
    (site / "own").chmod(0o1777)


BY_NAME = {
    workload.name: workload
    for workload in [
        Workload("hello", "a 14-byte answer", HELLO, latency=True),
        Workload(
            "headers",
            "9 headers of a browser in, 22 headers out",
            BROWSER_HEADERS["Cookie"].encode(),
            BROWSER_HEADERS,
            answer_headers=tuple(ANSWER_HEADERS),
        ),
        Workload(
            "one-client", "hello, asked by one client at a time", HELLO, target="/hello", connections=1, latency=True
        ),
        Workload("body", "a 1 MiB answer in one piece", BODY),
        Workload("chunks", "1,000 pieces of 1 KiB from a generator, each sent at once", BODY[: PIECES * PIECE]),
        Workload("file", "a 16 MiB file by wsgi.file_wrapper", FILE),
        Workload("upload", "a 1 MiB upload, read in pieces of 64 KiB", str(MIB).encode(), upload=BODY),
        Workload("sleep", "an application that sleeps for 5 ms", HELLO, sleep_ms=5, latency=True),
        Workload("django", "a view of Django: four middlewares, a template of ten rows", ROWS.encode(), framework=True),
        Workload("flask", "a view of Flask: a template of ten rows", ROWS.encode(), framework=True),
        Workload("memory", "idle workers that have loaded Django and Flask", idle=True),
    ]
}
