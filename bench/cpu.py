"""What a group of processes costs: the CPU time of a server with all its children, running or gone.

Three meters, the best one that works here: a cgroup with cpuacct (v1), a cgroup v2, or the sum of the process times
of the tree. The cgroups are the more exact ones: nanoseconds instead of clock ticks, and nobody can leave them.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class CgroupMeter:
    """A directory of ours below the caller's cgroup, with one child directory per contender."""

    def __init__(self, hierarchy, kind):
        self.kind = kind
        self.name = f"cgroup {kind}"
        self.top = hierarchy / f"rwsgi-bench-{os.getpid()}"

    def __enter__(self):
        self.top.mkdir()
        try:
            probe = self.account("probe")
            subprocess.run(["true"], preexec_fn=probe.enter, check=True)
            probe.seconds()
            probe.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in [*self.top.iterdir(), self.top] if self.top.exists() else []:
            if child.is_dir():
                remove_when_empty(child)

    def account(self, name):
        """A new account, to be entered by the process whose costs it counts."""
        return CgroupAccount(self.top / name, self.kind)


class CgroupAccount:
    """The costs of one cgroup."""

    def __init__(self, path, kind):
        self.path, self.kind = path, kind
        path.mkdir()
        self.entrance = str(path / "cgroup.procs")

    def enter(self):
        """Puts the calling process into the cgroup; runs between fork and exec."""
        with open(self.entrance, "w", encoding="ascii") as procs:
            procs.write("0")

    def watch(self, pid):
        """Nothing to remember: the cgroup knows its processes."""

    def pids(self):
        """The processes that run now."""
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def seconds(self):
        """CPU time spent so far."""
        if self.kind == "v1":
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def close(self):
        """Removes the cgroup; its processes have ended."""
        remove_when_empty(self.path)


class ProcessMeter:
    """Process times from /proc, for callers without a cgroup of their own."""

    name = "process times"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def account(self, _name):
        """A new account; the process is named later."""
        return ProcessAccount()


class ProcessAccount:
    """The costs of a few processes, their descendants, and the descendants they have reaped."""

    ticks = os.sysconf("SC_CLK_TCK")

    def __init__(self):
        self.roots = []
        self.seen = {}  # when each process of the tree was started: orphans leave the tree, ids are used again

    def enter(self):
        """Nothing to do between fork and exec."""

    def watch(self, pid):
        """Names a process that is the root of a tree."""
        self.roots.append(pid)

    def pids(self):
        """The processes that run now, orphans included."""
        self._tree()
        now = {pid: process for pid, process in processes() if process.state != "Z"}
        return [pid for pid, started in self.seen.items() if pid in now and now[pid].started == started]

    def seconds(self):
        """CPU time spent so far."""
        return sum(process.ticks for process in self._tree()) / self.ticks

    def close(self):
        """Nothing to remove."""

    def _tree(self):
        now = dict(processes())
        found, tree = [root for root in self.roots if root in now], []
        while found:
            pid = found.pop()
            tree.append(now[pid])
            self.seen[pid] = now[pid].started
            found += [child for child, process in now.items() if process.parent == pid]
        return tree


@dataclass(frozen=True)
class Process:
    """A line of /proc/PID/stat; `ticks` is user and system time, its own and of its reaped children."""

    state: str
    parent: int
    ticks: int
    started: int


def processes():
    """All processes, as (pid, Process)."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                # The name is in parentheses and may hold anything, so count from the last one.
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
                ticks = sum(map(int, fields[11:15]))
                yield int(entry.name), Process(fields[0], int(fields[1]), ticks, int(fields[19]))


def best_meter():
    """The most exact meter that this caller may use, not yet entered."""
    for hierarchy, kind in own_hierarchies():
        meter = CgroupMeter(hierarchy, kind)
        try:
            with meter:
                return CgroupMeter(hierarchy, kind)
        except (OSError, subprocess.SubprocessError, KeyError, ValueError):
            continue
    return ProcessMeter()


def own_hierarchies():
    """The caller's cgroup directories that count CPU time: v1 first, which has no rule about inner processes."""
    if not sys.platform.startswith("linux"):
        return
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own["v2" if controllers == "" else "v1" if "cpuacct" in controllers.split(",") else controllers] = path
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup" and "cpuacct" in options.split(","):
            version = "v1"
        elif kind == "cgroup2":
            version = "v2"
        else:
            continue
        path = own.get(version)
        if path is not None:
            inner = os.path.relpath(path, root) if path.startswith(root) else "."
            yield Path(mount, inner), version


def remove_when_empty(cgroup):
    """Removes a cgroup directory, waiting a little for the kernel to forget processes that have just ended."""
    deadline = time.monotonic() + 5
    while cgroup.exists():
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                print(f"bench: the cgroup {cgroup} cannot be removed", file=sys.stderr)
                return
            time.sleep(0.02)
