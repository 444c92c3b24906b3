# Lets one system call fail in the program that it executes: SPEC PROGRAM [ARGUMENT...]. SPEC is NUMBER:ERRNO or
# NUMBER:ERRNO:INDEX:VALUE, the latter for calls whose argument of that index has that value. ERRNO 0 is a call that claims to have
# succeeded and does nothing. The program is executed by execveat, so that execve may be the call.
import ctypes
import os
import struct
import sys


def instructions(number, errno, index=None, value=None):
    allow, fail = 0x7FFF0000, 0x00050000 | errno
    load, equal, answer = 0x20, 0x15, 0x06
    test = []
    if index is not None:
        test = [(load, 0, 0, 16 + 8 * index), (equal, 0, 1, value)]
    return [(load, 0, 0, 0), (equal, 0, len(test) + 1, number), *test, (answer, 0, 0, fail), (answer, 0, 0, allow)]


def install(spec):
    program = b"".join(struct.pack("HBBI", *one) for one in instructions(*map(int, spec.split(":"))))
    code = ctypes.create_string_buffer(program, len(program))
    whole = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER; who may not, without no_new_privs, sets that first.
    if libc.prctl(22, 2, whole, 0, 0) < 0:
        if libc.prctl(38, 1, 0, 0, 0) < 0 or libc.prctl(22, 2, whole, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "seccomp")


program = os.open(sys.argv[2], os.O_RDONLY)
install(sys.argv[1])
os.execve(program, sys.argv[3:], dict(os.environ))
