/* httpd's half of a handover, for handover.c and least_handover.c: each thread keeps its connection. To be included
 * after httpd's own. */

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_strings.h"

#define PATIENCE 30000 /* milliseconds */

static __thread int peer = -1;

static int connect_to_peer(request_rec *r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = ap_server_root_relative(r->pool, "app/socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    apr_cpystrn(address.sun_path, path, sizeof address.sun_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What has come, of at most `most` bytes, after waiting for it; 0 or less when nothing will. */
static long receive(void *to, size_t most)
{
    struct pollfd answer = {.fd = peer, .events = POLLIN};

    return poll(&answer, 1, PATIENCE) == 1 ? recv(peer, to, most, MSG_DONTWAIT) : -1;
}
