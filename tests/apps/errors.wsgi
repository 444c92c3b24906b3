"""Applications that break PEP 3333 or themselves, one path each."""
import os
import sys

TEXT = [("Content-Type", "text/plain")]


def list_of_str(environ, start_response):
    """What many old tutorials do."""
    start_response("200 OK", TEXT)
    return ["Hello World!"]


def bare_str(environ, start_response):
    start_response("200 OK", TEXT)
    return "Hello World!"


def bare_bytes(environ, start_response):
    start_response("200 OK", TEXT)
    return b"Hello World!"


def none(environ, start_response):
    start_response("200 OK", TEXT)


def number(environ, start_response):
    start_response("200 OK", TEXT)
    return 42


class Mistaken:
    def __iter__(self):
        raise TypeError("a mistake in __iter__")


def iterable_with_a_mistake(environ, start_response):
    start_response("200 OK", TEXT)
    return Mistaken()


def list_of_numbers(environ, start_response):
    start_response("200 OK", TEXT)
    return [1, 2]


def no_start_response(environ, start_response):
    return [b"never started"]


def write_str(environ, start_response):
    start_response("200 OK", TEXT)("text")
    return []


def raises(environ, start_response):
    raise ValueError("before anything")


def raises_after_start(environ, start_response):
    start_response("200 OK", TEXT + [("X-Secret", "not for the client")])
    raise ValueError("after start_response")


def raises_chained(environ, start_response):
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise RuntimeError("the effect: caf\xe9 \u20ac") from error


def exits(environ, start_response):
    sys.exit(3)


def interrupts(environ, start_response):
    raise KeyboardInterrupt


def raises_in_iteration(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    raise ValueError("in the middle")


def raises_after_write(environ, start_response):
    start_response("200 OK", TEXT)(b"written")
    raise ValueError("after write")


def recursion(environ, start_response):
    return recursion(environ, start_response)


def status_none(environ, start_response):
    start_response(None, TEXT)
    return [b"x"]


def status_bytes(environ, start_response):
    start_response(b"200 OK", TEXT)
    return [b"x"]


def status_number(environ, start_response):
    start_response(200, TEXT)
    return [b"x"]


def status_two_digits(environ, start_response):
    start_response("20 OK", TEXT)
    return [b"x"]


def status_four_digits(environ, start_response):
    start_response("2000 OK", TEXT)
    return [b"x"]


def status_newline(environ, start_response):
    start_response("200 OK\r\nX-Injected: yes", TEXT)
    return [b"x"]


def status_control(environ, start_response):
    start_response("200 O\x07K", TEXT)
    return [b"x"]


def status_not_latin(environ, start_response):
    start_response("200 \u20ac", TEXT)
    return [b"x"]


def headers_none(environ, start_response):
    start_response("200 OK", None)
    return [b"x"]


def headers_tuple(environ, start_response):
    start_response("200 OK", tuple(TEXT))
    return [b"x"]


def header_no_pair(environ, start_response):
    start_response("200 OK", [("a", "b", "c")])
    return [b"x"]


def header_list(environ, start_response):
    start_response("200 OK", [["Content-Type", "text/plain"]])
    return [b"x"]


def header_number(environ, start_response):
    start_response("200 OK", [("X-Number", 1)])
    return [b"x"]


def header_bytes(environ, start_response):
    start_response("200 OK", [(b"X-Bytes", b"1")])
    return [b"x"]


def header_empty_name(environ, start_response):
    start_response("200 OK", [("", "1")])
    return [b"x"]


def header_name_newline(environ, start_response):
    start_response("200 OK", [("X\r\nX-Injected", "1")])
    return [b"x"]


def header_name_space(environ, start_response):
    start_response("200 OK", [("X Y", "1")])
    return [b"x"]


def header_name_not_latin(environ, start_response):
    start_response("200 OK", [("X-\u20ac", "1")])
    return [b"x"]


def header_value_newline(environ, start_response):
    start_response("200 OK", [("X-A", "1\r\nX-Injected: yes")])
    return [b"x"]


def header_value_lone_cr(environ, start_response):
    start_response("200 OK", [("X-A", "1\rX-Injected: yes")])
    return [b"x"]


def header_value_not_latin(environ, start_response):
    start_response("200 OK", [("X-A", "\u20ac")])
    return [b"x"]


def header_value_control(environ, start_response):
    start_response("200 OK", [("X-A", "a\x00b")])
    return [b"x"]


def length_not_a_number(environ, start_response):
    start_response("200 OK", [("Content-Length", "many")])
    return [b"x"]


def length_negative(environ, start_response):
    start_response("200 OK", [("Content-Length", "-1")])
    return [b"x"]


def exc_info_wrong(environ, start_response):
    start_response("200 OK", TEXT, "not a tuple")
    return [b"x"]


def start_without_headers(environ, start_response):
    start_response("200 OK")
    return [b"x"]


def fine(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"fine %d" % os.getpid()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
