"""Run after an import has failed: modules whose package is gone are forgotten, so that the next try imports them anew.

Python itself forgets the module that raised, but not what a package had imported of itself by then. Extension modules stay:
many cannot be loaded twice.
"""
import sys


def forget(before):
    for name in sorted(set(sys.modules) - before):
        package = name.rpartition(".")[0]
        while package and package in sys.modules:
            package = package.rpartition(".")[0]
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        if package and file.endswith(".py"):
            sys.modules.pop(name, None)
