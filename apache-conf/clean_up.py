"""The service of service.conf. Put what you need done in place of clean_up(): it may take its time."""

import logging
import os
import time

import mod_wsgi

PLACE = os.path.join(os.path.dirname(__file__), "scratch")
KEEP = 24 * 3600
PAUSE = 60

# Standard error would do as well; this keeps the levels in httpd's error log.
logging.basicConfig(level=logging.INFO, handlers=[mod_wsgi.LogHandler()])


def clean_up():
    for entry in os.scandir(PLACE):
        if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < time.time() - KEEP:
            os.unlink(entry.path)
            logging.info("removed %s", entry.path)


try:
    while True:
        clean_up()
        time.sleep(PAUSE)
finally:
    # Reached at SIGTERM, too, by the SystemExit that it raises.
    logging.info("no more cleaning up")
