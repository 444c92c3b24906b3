"""What all contenders have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Contender(ABC):
    """A server in a mode. `peer` is the name of the contender it is compared with."""

    name: str
    family: str  # what must be on the machine: tools.py
    mode: str = ""
    peer: str = ""
    able: frozenset = None  # the workloads that it can answer; None: all
    usual: frozenset = None  # those in which it takes part when nobody has named it; None: all that it can
    mpm: str = "event"
    processes: int = 0  # beside httpd's, which run the application; 0: Python runs in httpd's children, or not at all
    threads: int = 0
    script: str = "app"  # the module of the site that has the application

    def takes_part(self, workload, named):
        """Whether it is measured in a workload; `named` says that the contenders were chosen by name."""
        if workload.idle and not self.processes:
            return False
        if self.able is not None and workload.name not in self.able:
            return False
        return named or self.usual is None or workload.name in self.usual

    @abstractmethod
    def directives(self, server):
        """The lines of httpd's configuration that only this contender has."""

    def command(self, _server):
        """What is started beside httpd; nothing by default."""
        return None
