"""The signals of a service, and its threads."""

import os
import signal
import threading


def watch(leave):
    """Has `leave` called at the signals that ask a service to go; the others for workers do nothing. A script may change all of it. A process
    that it forks gets the default actions back, where the script has not changed them."""

    def nothing(number, frame):
        pass

    mine = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGXCPU), leave)
    mine.update(dict.fromkeys((signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2), nothing))
    for number, handler in mine.items():
        signal.signal(number, handler)

    def forked():
        try:
            for number, handler in mine.items():
                if signal.getsignal(number) is handler:
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        except ValueError:
            pass

    os.register_at_fork(after_in_child=forked)


def wait():
    """Until no thread is left that keeps a Python program from ending."""
    me = threading.current_thread()
    while True:
        threads = [thread for thread in threading.enumerate() if thread is not me and not thread.daemon]
        if not threads:
            return
        for thread in threads:
            thread.join()
