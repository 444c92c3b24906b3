# What a worker's Python runs first. Valid for Python 2.7 as well as 3, so that a too old one can say so.
# Descriptors: 3 the pool's listener, 4 the manager, 5 the Python half of rwsgi (a shared library).
def _boot():
    import os
    import sys

    def cannot(text):
        import struct
        data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        data = data[:30000]
        os.write(4, struct.pack("<BI", 3, len(data)) + data)
        os._exit(78)

    # Meant for this process alone, which has read it by now.
    os.environ.pop("PYTHONHASHSEED", None)
    version = sys.version_info
    if version < (3, 9):
        cannot("%s is Python %d.%d, and rwsgi needs 3.9 or newer: name another python-home"
               % (sys.executable, version[0], version[1]))
    if "t" in getattr(sys, "abiflags", ""):
        cannot("%s is a free-threaded Python, for which this rwsgi is not built: name another python-home"
               % sys.executable)
    # The working directory is no place to import from unless it was configured.
    sys.path[:] = [entry for entry in sys.path if entry]
    path = "/proc/self/fd/5"
    try:
        from importlib.machinery import ExtensionFileLoader
        from importlib.util import module_from_spec, spec_from_file_location
        loader = ExtensionFileLoader("_rwsgi", path)
        module = module_from_spec(spec_from_file_location("_rwsgi", path, loader=loader))
        sys.modules["_rwsgi"] = module
        loader.exec_module(module)
        os.close(5)
    except BaseException as error:
        cannot("the Python half of rwsgi does not load in %s (Python %d.%d): %s: %s"
               % (sys.executable, version[0], version[1], type(error).__name__, error))
    return module


_rwsgi = _boot()
del _boot
_rwsgi.serve(3, 4)
