/* The least that an answer by another process costs: a handler that sends a few bytes over a unix socket, waits for a few
 * bytes, and answers as ceiling.c does. Each thread keeps its connection. The process at the other end is
 * handover_peer.c. No daemon mode that keeps a thread of httpd for each request can be cheaper. */

#include "httpd.h" /* first: the others need it */

#include "http_config.h"
#include "http_protocol.h"

#include "handover.h"

#define REQUEST 1024 /* bytes that our module sends for hello, and that come back */
#define ANSWER 104

static const char hello[] = "Hello, world!\n";

static int handle(request_rec *r)
{
    char bytes[REQUEST] = {0};

    if (strcmp(r->handler, "handover") != 0)
        return DECLINED;
    if (strcmp(r->uri, "/hello") != 0)
        return HTTP_NOT_FOUND;
    if (peer < 0 && (peer = connect_to_peer(r)) < 0)
        return HTTP_SERVICE_UNAVAILABLE;
    if (send(peer, bytes, sizeof bytes, MSG_NOSIGNAL) != sizeof bytes)
        return HTTP_BAD_GATEWAY;
    if (receive(bytes, sizeof bytes) != ANSWER)
        return HTTP_BAD_GATEWAY;
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, sizeof hello - 1);
    ap_rwrite(hello, sizeof hello - 1, r);
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(handover) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0};
