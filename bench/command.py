"""What the commands have in common: names from the command line, and an end that leaves nothing running."""

import signal
import sys

import tools

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def choose(parser, names, known):
    """The entries of `known` that a comma-separated list names, in the table's order."""
    wanted = set(known) if names == "all" else set() if names == "none" else set(names.split(","))
    for name in sorted(wanted - set(known)):
        parser.error(f"{name!r} is none of: {', '.join(known)}")
    return [entry for name, entry in known.items() if name in wanted]


def run(work):
    """Does the work, whose exit code it returns; says why it could not be done."""
    for name in ENDING:
        signal.signal(name, end)
    try:
        return work()
    except tools.Unable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def end(signum, _frame):
    """Ctrl-C and SIGTERM end a command through every `finally`, and a second one does not disturb that."""
    for name in ENDING:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt(signum)
