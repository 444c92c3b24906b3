/* Python with the application in it, for least.c and least_peer.c: the least that calling a WSGI application costs.
 * Nothing is checked, neither what the application gives nor what it is given, and Python is never ended. */

#ifndef LEAST_PYTHON_H
#define LEAST_PYTHON_H

#include <stddef.h>
#include <sys/uio.h>

#define LEAST_HEAD 16384 /* bytes of a request's variables, and of an answer's status and headers */
#define LEAST_PIECES 16

struct least_answer {
    size_t head_length;
    char head[LEAST_HEAD]; /* the status, then names and values in turn, each with a NUL behind it */
    int pieces;
    struct iovec body[LEAST_PIECES]; /* Python's own, until the thread calls again */
};

/* Starts Python with the site-packages of this interpreter, and loads the application from the module `script` in
 * `site`. `read` is what wsgi.input reads with, or NULL. Returns 0 when that failed, after saying why. */
int least_start(const char *executable, const char *site, const char *script, long (*read)(char *to, size_t most));

/* Calls the application. The request is names and values in turn, each with a NUL behind it. Returns 0 when that
 * failed, after saying why; then the answer is empty. */
int least_call(const char *request, size_t length, struct least_answer *answer);

#endif
