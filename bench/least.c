/* The least that an answer by Python in httpd's children costs: a handler that calls the application of app.py as
 * plainly as C can, and passes on what it gives. No module that runs Python there can be much cheaper. LeastPython
 * names the interpreter, the application's directory and its module. */

#include "httpd.h" /* first: the others need it */

#include "apr_strings.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"

#include "least_python.h"
#include "least_request.h"

static const char *executable, *site, *script;
static __thread request_rec *answered; /* the one whose body wsgi.input reads; NULL when there is none */

static long read_body(char *to, size_t most)
{
    size_t length = 0;
    long got = 1;

    while (answered != NULL && length < most && got > 0)
        if ((got = ap_get_client_block(answered, to + length, most - length)) > 0)
            length += (size_t)got;
    return got < 0 ? got : (long)length;
}

static int handle(request_rec *r)
{
    char request[LEAST_HEAD];
    struct least_answer answer;
    size_t length;

    if (strcmp(r->handler, "least") != 0)
        return DECLINED;
    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK)
        return HTTP_BAD_REQUEST;
    answered = ap_should_client_block(r) ? r : NULL;
    length = write_request(r, request, sizeof request);
    if (!least_call(request, length, &answer))
        return HTTP_INTERNAL_SERVER_ERROR;
    set_head(r, answer.head, answer.head_length);
    for (int i = 0; i < answer.pieces; i++)
        ap_rwrite(answer.body[i].iov_base, (int)answer.body[i].iov_len, r);
    return OK;
}

static void start(apr_pool_t *p, server_rec *s)
{
    (void)p;
    if (!least_start(executable, site, script, read_body))
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "no Python: see before");
}

static const char *set_python(cmd_parms *command, void *unused, const char *first, const char *second,
                              const char *third)
{
    (void)command, (void)unused;
    executable = first;
    site = second;
    script = third;
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE3("LeastPython", set_python, NULL, RSRC_CONF, "interpreter, directory, module"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL},
};

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_init(start, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(least) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks, 0};
