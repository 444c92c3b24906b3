#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "least_python.h"

#define KEYS 256

static PyObject *application, *template, *start_response, *close_name;
static PyObject *keys[KEYS]; /* names of variables, by hash: a newer one displaces an older one */
static PyInterpreterState *interpreter;
static long (*read_body)(char *to, size_t most);

static __thread PyThreadState *state;
static __thread PyObject *kept; /* the body of the thread's last answer, released when it has the lock again */
static __thread struct least_answer *answering;

/* What each request sets is in the template, too, so that the copy has room for it. Django looks for wsgi.input's
 * readline, but does not call it. */
static const char loader[] =
    "import importlib, io, sys\n"
    "readline = None\n"
    "sys.path.insert(0, site)\n"
    "application = importlib.import_module(script).application\n"
    "template = dict.fromkeys(['REQUEST_METHOD', 'PATH_INFO', 'QUERY_STRING', 'SERVER_NAME', 'SERVER_PORT',\n"
    "    'SERVER_PROTOCOL', 'REMOTE_ADDR', 'HTTP_HOST'])\n"
    "template.update({'SCRIPT_NAME': '', 'GATEWAY_INTERFACE': 'CGI/1.1', 'wsgi.version': (1, 0),\n"
    "    'wsgi.url_scheme': 'http', 'wsgi.multithread': True, 'wsgi.multiprocess': True, 'wsgi.run_once': False,\n"
    "    'wsgi.errors': sys.stderr, 'wsgi.input': sys.modules['least'] if reads else io.BytesIO()})\n";

static int append(struct least_answer *answer, PyObject *text)
{
    size_t size = (size_t)PyUnicode_GET_LENGTH(text) + 1;

    if (size > sizeof answer->head - answer->head_length)
        return 0;
    memcpy(answer->head + answer->head_length, PyUnicode_1BYTE_DATA(text), size);
    answer->head_length += size;
    return 1;
}

static PyObject *keep_head(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    int fits = append(answering, arguments[0]);

    (void)module, (void)count;
    for (Py_ssize_t i = 0; fits && i < PyList_GET_SIZE(arguments[1]); i++) {
        PyObject *header = PyList_GET_ITEM(arguments[1], i);

        fits = append(answering, PyTuple_GET_ITEM(header, 0)) && append(answering, PyTuple_GET_ITEM(header, 1));
    }
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "more than %d bytes of headers", LEAST_HEAD);
    Py_RETURN_NONE;
}

/* read(size) of wsgi.input, which is this module: each thread reads from the request that it answers. */
static PyObject *read_input(PyObject *module, PyObject *size)
{
    Py_ssize_t most = PyLong_AsSsize_t(size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, most);
    PyThreadState *released;
    long got;

    (void)module;
    if (bytes == NULL)
        return NULL;
    released = PyEval_SaveThread();
    got = read_body(PyBytes_AS_STRING(bytes), (size_t)most);
    PyEval_RestoreThread(released);
    if (got < 0) {
        Py_DECREF(bytes);
        return PyErr_Format(PyExc_OSError, "the client has gone");
    }
    _PyBytes_Resize(&bytes, got);
    return bytes;
}

static PyMethodDef functions[] = {
    {"start_response", (PyCFunction)(void (*)(void))keep_head, METH_FASTCALL, NULL},
    {"read", read_input, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int load(const char *site, const char *script)
{
    PyObject *module = PyImport_AddModule("least"); /* sys.modules has it */
    PyObject *globals, *done;

    if (module == NULL || PyModule_AddFunctions(module, functions) < 0
        || PyModule_AddStringConstant(module, "site", site) < 0
        || PyModule_AddStringConstant(module, "script", script) < 0
        || PyModule_AddIntConstant(module, "reads", read_body != NULL) < 0)
        return 0;
    globals = PyModule_GetDict(module);
    if ((done = PyRun_String(loader, Py_file_input, globals, globals)) == NULL)
        return 0;
    Py_DECREF(done);
    application = PyDict_GetItemString(globals, "application"); /* these are borrowed from what never ends */
    template = PyDict_GetItemString(globals, "template");
    start_response = PyDict_GetItemString(globals, "start_response");
    return (close_name = PyUnicode_InternFromString("close")) != NULL;
}

int least_start(const char *executable, const char *site, const char *script, long (*read)(char *to, size_t most))
{
    PyConfig config;
    PyStatus status;
    int loaded;

    read_body = read;
    PyConfig_InitIsolatedConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, executable);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "Python does not start: %s\n", status.err_msg);
        return 0;
    }
    interpreter = PyInterpreterState_Get();
    if (!(loaded = load(site, script)))
        PyErr_Print();
    state = PyEval_SaveThread();
    return loaded;
}

/* The str of a variable's name; borrowed. */
static PyObject *key_of(const char *name, size_t length)
{
    unsigned hash = 0;
    PyObject **slot;

    for (size_t i = 0; i < length; i++)
        hash = hash * 31 + (unsigned char)name[i];
    slot = &keys[hash % KEYS];
    if (*slot == NULL || (size_t)PyUnicode_GET_LENGTH(*slot) != length
        || memcmp(PyUnicode_1BYTE_DATA(*slot), name, length) != 0)
        Py_XSETREF(*slot, PyUnicode_InternFromString(name));
    return *slot;
}

static PyObject *make_environ(const char *at, const char *end)
{
    PyObject *environ = PyDict_Copy(template);

    while (environ != NULL && at < end) {
        size_t length = strlen(at);
        PyObject *key = key_of(at, length), *value;

        at += length + 1;
        length = strlen(at);
        value = PyUnicode_DecodeLatin1(at, (Py_ssize_t)length, NULL);
        at += length + 1;
        if (key == NULL || value == NULL || PyDict_SetItem(environ, key, value) < 0)
            Py_CLEAR(environ);
        Py_XDECREF(value);
    }
    return environ;
}

static void close_result(PyObject *result)
{
    PyObject *closed = PyObject_CallMethodNoArgs(result, close_name);

    if (closed == NULL && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    else if (closed == NULL)
        PyErr_Print();
    Py_XDECREF(closed);
}

/* All that the application gives, as a list. */
static PyObject *body_of(PyObject *environ)
{
    PyObject *arguments[] = {environ, start_response};
    PyObject *result = PyObject_Vectorcall(application, arguments, 2, NULL), *body;

    if (result == NULL)
        return NULL;
    body = PySequence_List(result);
    if (body != NULL && !PyList_CheckExact(result))
        close_result(result);
    Py_DECREF(result);
    if (body != NULL && PyList_GET_SIZE(body) > LEAST_PIECES) {
        Py_CLEAR(body);
        PyErr_Format(PyExc_ValueError, "more than %d pieces", LEAST_PIECES);
    }
    return body;
}

int least_call(const char *request, size_t length, struct least_answer *answer)
{
    PyObject *environ;

    if (state == NULL)
        state = PyThreadState_New(interpreter);
    PyEval_RestoreThread(state);
    Py_CLEAR(kept);
    answering = answer;
    answer->head_length = 0;
    answer->pieces = 0;
    if ((environ = make_environ(request, request + length)) != NULL) {
        kept = body_of(environ);
        Py_DECREF(environ);
    }
    if (kept == NULL) {
        PyErr_Print();
        answer->head_length = 0;
    }
    for (; answer->head_length > 0 && answer->pieces < PyList_GET_SIZE(kept); answer->pieces++) {
        PyObject *piece = PyList_GET_ITEM(kept, answer->pieces);

        answer->body[answer->pieces].iov_base = PyBytes_AS_STRING(piece);
        answer->body[answer->pieces].iov_len = (size_t)PyBytes_GET_SIZE(piece);
    }
    PyEval_SaveThread();
    return answer->head_length > 0;
}
