/* The least that an answer by Python in another process costs while a thread of httpd waits for it: handover.c with a
 * real request and a real answer. The process at the other end is least_peer.c. */

#include "httpd.h" /* first: the others need it */

#include "http_config.h"
#include "http_core.h"
#include "http_protocol.h"

#include "handover.h"
#include "least_frame.h"
#include "least_python.h"
#include "least_request.h"

#define ROOM 65536 /* bytes that are received at once */

/* What becomes of the request. After HTTP_BAD_GATEWAY the connection is of no use. */
static int exchange(request_rec *r)
{
    char bytes[ROOM];
    struct frame frame = {0};
    size_t have, left;
    long got;

    frame.head = (uint32_t)write_request(r, bytes + sizeof frame, LEAST_HEAD);
    memcpy(bytes, &frame, sizeof frame);
    if (send(peer, bytes, sizeof frame + frame.head, MSG_NOSIGNAL) != (long)(sizeof frame + frame.head))
        return HTTP_BAD_GATEWAY;
    for (have = 0; have < sizeof frame || have < sizeof frame + frame.head; have += (size_t)got) {
        if ((got = receive(bytes + have, sizeof bytes - have)) <= 0)
            return HTTP_BAD_GATEWAY;
        memcpy(&frame, bytes, sizeof frame); /* while it is not whole, have is less than its size */
    }
    if (frame.head == 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    set_head(r, bytes + sizeof frame, frame.head);
    left = frame.body;
    have -= sizeof frame + frame.head;
    ap_rwrite(bytes + sizeof frame + frame.head, (int)have, r);
    while ((left -= have) > 0) {
        if ((got = receive(bytes, sizeof bytes)) <= 0)
            return HTTP_BAD_GATEWAY;
        have = (size_t)got;
        ap_rwrite(bytes, (int)have, r);
    }
    return OK;
}

static int handle(request_rec *r)
{
    int status;

    if (strcmp(r->handler, "least") != 0)
        return DECLINED;
    if (peer < 0 && (peer = connect_to_peer(r)) < 0)
        return HTTP_SERVICE_UNAVAILABLE;
    if ((status = exchange(r)) == HTTP_BAD_GATEWAY) {
        close(peer);
        peer = -1;
    }
    return status;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(least_handover) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0};
