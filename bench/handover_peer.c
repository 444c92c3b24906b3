/* The other end of handover.c: handover_peer SOCKET PROCESSES THREADS. Each thread serves one connection: whatever comes
 * is answered with a few bytes. */

#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "peer.h"

#define ANSWER 104 /* bytes, as in handover.c */

static int begin(void)
{
    return 1;
}

static void serve(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    char bytes[4096], answer[ANSWER] = {0};

    while (poll(&one, 1, -1) == 1 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        if (send(fd, answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
}

int main(int count, char **arguments)
{
    if (count != 4)
        return 2;
    return serve_all(arguments[1], atoi(arguments[2]), atoi(arguments[3]), begin, serve);
}
