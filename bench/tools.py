"""What the benchmark needs on the machine: finds it, installs it (saying what and why), compiles it.

Packages come from apt-get, as root or through sudo; elsewhere they are only named. What is written in Python or
compiled for it comes from PyPI into .venvs/bench, whose Python runs the application for all contenders.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from workloads import HERE

REPOSITORY = HERE.parent
VENV = REPOSITORY / ".venvs" / "bench"
PACKAGES = {  # from PyPI, by family of contenders, and what the applications need
    "mod_wsgi": ["mod_wsgi==6.1.1"],
    "gunicorn": ["gunicorn==27.0.1"],
    "granian": ["granian==2.8.9"],
    "uwsgi": ["uWSGI==2.0.31"],
    "plots": ["matplotlib==3.11.2"],
    "frameworks": ["Django==5.2.19", "Flask==3.1.3"],
}
DESCRIBE = (
    "import sys, sysconfig; v = sysconfig.get_config_var;"
    "assert sys.version_info >= (3, 9);"
    "print(sys.prefix, sys.base_prefix, v('INCLUDEPY'), sys.version.split()[0], sep='\\n')"
)

LINKED = (
    "import sysconfig; v = sysconfig.get_config_var;"
    "print(v('Py_ENABLE_SHARED'), v('LIBDIR'), v('LDVERSION'), sep='\\n')"
)

INSTALLED = (
    "from importlib.metadata import distributions as d;"
    "print(*(f'{p.name}=={p.version}'.lower().replace('_', '-') for p in d()))"
)


class Unable(Exception):
    """The benchmark cannot run here; the text says why and what to do."""


@dataclass
class Python:
    """The interpreter that all contenders run: `home` is a venv or a prefix, `base` the prefix below a venv."""

    executable: str
    home: str
    base: str
    include: str
    version: str


@dataclass
class Setup:
    """All that a contender's httpd is made from."""

    root: Path
    httpd: str
    modules_dir: Path
    user: str  # httpd's User; None when not root
    python: Python
    modules: dict = field(default_factory=dict)  # what a family of contenders is: a module, a program, a version
    missing: dict = field(default_factory=dict)  # why a family is not there

    @property
    def site(self):
        """The directory of the application and its data."""
        return self.root / "site"


def prepare(root, families, frameworks):
    """Finds or makes everything that these families of contenders need; raises Unable.

    `frameworks` says whether the application will be asked for its views of Django and Flask.
    """
    root = Path(root)
    root.chmod(0o755)  # httpd's User and the workers must get at the application
    needs = {"wrk": "wrk, which makes the requests"} if not shutil.which("wrk") else {}
    if not find_apxs():
        needs["apache2-dev"] = "apxs, which says where httpd's modules are and compiles the ceiling and mod_wsgi"
    if not find_httpd():
        needs["apache2-bin"] = "httpd (the program alone: no service is set up)"
    if not shutil.which("gcc"):
        needs["gcc"] = "the compiler for the ceiling and mod_wsgi"
    if not shutil.which("/usr/bin/python3") and not os.environ.get("PYTHON"):
        needs["python3"] = "the Python that runs the application"
    install(needs)
    user = next((name for name in ("www-data", "apache", "nobody") if known_user(name)), None)
    user = user if os.geteuid() == 0 else None
    python = make_venv(choose_python(user), user)
    if frameworks:
        add_packages(python, "frameworks")
    modules_dir = Path(output(find_apxs(), "-q", "LIBEXECDIR"))
    setup = Setup(root, find_httpd(), modules_dir, user, python)
    for family in sorted(families):
        try:
            setup.modules[family] = MAKERS[family](setup)
        except Unable as error:
            setup.missing[family] = str(error)
    return setup


def find_apxs():
    """The apxs to use, or None; APXS= overrides."""
    return shutil.which(os.environ.get("APXS", "apxs")) or shutil.which("apxs2")


def find_httpd():
    """The httpd that belongs to apxs, or None."""
    known = ["/usr/sbin/apache2", "/usr/sbin/httpd"]
    if apxs := find_apxs():
        known.insert(0, output(apxs, "-q", "SBINDIR") + "/" + output(apxs, "-q", "PROGNAME"))
    return next((path for path in known if os.access(path, os.X_OK)), None)


def output(*command):
    """The stripped output of a short command that must succeed; raises Unable."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unable(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout.strip()


def install(needs):
    """Installs packages, given as {package: what it is for}, after saying so; raises Unable."""
    if not needs:
        return
    for package, reason in needs.items():
        print(f"bench: needs {package}: {reason}", flush=True)
    by_hand = f"install by hand: {' '.join(needs)} (Debian's names)"
    sudo = [] if os.geteuid() == 0 else [shutil.which("sudo")]
    if not shutil.which("apt-get") or None in sudo:
        raise Unable(by_hand)
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    get = [*apt, "install", "--no-install-recommends", *needs]
    print("bench: installing with apt-get", flush=True)
    if subprocess.run(get, check=False).returncode:
        subprocess.run([*apt, "update"], check=False)
        if subprocess.run(get, check=False).returncode:
            raise Unable(f"apt-get failed; {by_hand}")


def known_user(name):
    """Whether there is such a user."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def choose_python(user):
    """The first of PYTHON= and /usr/bin/python3 that httpd's User can run."""
    why = []
    for path in filter(None, [os.environ.get("PYTHON"), "/usr/bin/python3"]):
        path = shutil.which(path) or path
        if os.path.isdir(path):
            path = os.path.join(path, "bin", "python")
        try:
            python = describe(path, user)
        except Unable as error:
            why.append(str(error))
            continue
        for reason in why:
            print(f"bench: not with {reason}", flush=True)
        return python
    raise Unable(f"no Python 3.9 or newer that {user or 'this user'} can run ({'; '.join(why)}); set PYTHON=")


def describe(path, user):
    """What an interpreter says about itself, asked as httpd's User; raises Unable."""
    become = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    command = [str(path), "-I", "-c", DESCRIBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **become)
    except OSError as error:
        raise Unable(f"{path}: {error.strerror}") from None
    if done.returncode:
        raise Unable(f"{path}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return Python(str(path), *done.stdout.split("\n")[:4])


def make_venv(base, user):
    """The Python of .venvs/bench, which is made anew when it belongs to another Python than the chosen one."""
    path = VENV / "bin" / "python"
    try:
        python = describe(path, user)
        if (python.base, python.version) == (base.base, base.version):
            return python
    except Unable:
        pass
    if subprocess.run([base.executable, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        if base.base != "/usr":
            raise Unable(f"{base.executable} has no ensurepip, so it can make no virtual environment")
        install({"python3-venv": "a virtual environment for what is compared"})
    print(f"bench: making {VENV} with {base.executable}", flush=True)
    output(base.executable, "-m", "venv", "--clear", str(VENV))
    return describe(path, user)


def add_packages(python, family):
    """Installs a family's packages into .venvs/bench where they are not there in the wanted version; raises Unable."""
    wanted = PACKAGES[family]
    known = output(python.executable, "-c", INSTALLED).split()
    if {package.lower().replace("_", "-") for package in wanted} <= set(known):
        return
    need_headers(python, family)
    print(f"bench: installing {', '.join(wanted)} from PyPI into {VENV}", flush=True)
    pip = [python.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    # Not from pip's cache: what was compiled there may be linked to another Python of the same version.
    output("env", f"APXS={find_apxs()}", *pip, "--no-cache-dir", *wanted)
    output("chmod", "-R", "a+rX", str(VENV))


def need_headers(python, what):
    """Installs Python.h, where it is not there; raises Unable."""
    if not Path(python.include, "Python.h").is_file():
        if python.base != "/usr":
            raise Unable(f"{python.executable} has no Python.h, to compile {what} with")
        install({"python3-dev": f"Python.h, to compile {what} with"})


def compile_module(setup, name, more="", flags=()):
    """Compiles a module in C, of which another file may be a part, below the temporary directory; returns it."""
    work = setup.root / f"{name}-module"
    work.mkdir()
    sources = [shutil.copyfile(HERE / f"{name}.c", work / f"mod_{name}.c").name]
    if more:
        sources.append(shutil.copyfile(HERE / more, work / more).name)
    compile_in(work, f"{name}.c", find_apxs(), f"-Wc,-O2 -Wall -Wextra -I{HERE}", *flags, "-c", *sources)
    (work / ".libs").chmod(0o755)
    return work / ".libs" / f"mod_{name}.so"


def compile_peer(directory, name, *more):
    """Compiles the program at the other end of a module into that directory."""
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", name, str(HERE / f"{name}.c"), str(HERE / "peer.c")]
    compile_in(directory, f"{name}.c", *command, *more)


def compile_in(work, source, *command):
    """Runs a compiler there; raises Unable."""
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unable(f"{source} does not compile: {done.stderr.strip()[-1500:]}")


def ceiling(setup):
    """The module."""
    return compile_module(setup, "ceiling")


def handover(setup):
    """The directory of the module and of the program at its other end."""
    directory = compile_module(setup, "handover").parent
    compile_peer(directory, "handover_peer")
    return directory


def least_embedded(setup):
    """The module with Python in it."""
    include, *link = embedding(setup)
    return compile_module(setup, "least", "least_python.c", [include, *(f"-Wl,{flag}" for flag in link)])


def least_daemon(setup):
    """The directory of the module and of the program with Python in it at its other end."""
    directory = compile_module(setup, "least_handover").parent
    compile_peer(directory, "least_peer", str(HERE / "least_python.c"), *embedding(setup))
    return directory


def embedding(setup):
    """What a compiler must be told to put the chosen Python into a program; raises Unable."""
    need_headers(setup.python, "what has Python in it")
    shared, directory, version = output(setup.python.executable, "-c", LINKED).split("\n")
    if shared != "1":
        raise Unable(f"{setup.python.executable} has no shared library")
    return [f"-I{setup.python.include}", f"-L{directory}", f"-Wl,-rpath,{directory}", f"-lpython{version}"]


def rwsgi(_setup):
    """Our module, as `make build` leaves it; RWSGI_BUILD_DIR overrides the directory."""
    module = Path(os.environ.get("RWSGI_BUILD_DIR", REPOSITORY / "build")).resolve() / "mod_rwsgi.so"
    if not module.is_file():
        raise Unable(f"there is no {module}: make build")
    return module


def mod_wsgi(setup):
    """The original's module, compiled for the chosen Python."""
    add_packages(setup.python, "mod_wsgi")
    found = sorted(VENV.glob("lib/python*/site-packages/mod_wsgi/server/mod_wsgi-py*.so"))
    if not found:
        raise Unable(f"pip installed mod_wsgi, but there is no module in {VENV}")
    return found[0]


def passenger(setup):
    """Passenger's module and, in passenger_root, where the rest of it is; from Debian's package."""
    module = setup.modules_dir / "mod_passenger.so"
    if not module.is_file():
        install({"libapache2-mod-passenger": "Passenger, for comparison"})
    setup.passenger_root = output("passenger-config", "--root")
    return module


def from_pypi(family):
    """What makes a family that is one package of PyPI."""

    def make(setup):
        add_packages(setup.python, family)
        return PACKAGES[family][0]

    return make


MAKERS = {
    "ceiling": ceiling,
    "handover": handover,
    "least-embedded": least_embedded,
    "least-daemon": least_daemon,
    "static": lambda setup: setup.httpd,
    "mod_wsgi": mod_wsgi,
    "rwsgi": rwsgi,
    "gunicorn": from_pypi("gunicorn"),
    "granian": from_pypi("granian"),
    "uwsgi": from_pypi("uwsgi"),
    "passenger": passenger,
}
