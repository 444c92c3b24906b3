/* The other end of least_handover.c: least_peer SOCKET PROCESSES THREADS INTERPRETER DIRECTORY MODULE. Each thread
 * serves one connection: it calls the application, which least_python.c loads, with each request that comes. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "least_frame.h"
#include "least_python.h"
#include "peer.h"

static char **python; /* interpreter, directory, module */

static int begin(void)
{
    return least_start(python[0], python[1], python[2], NULL);
}

/* Sends all of it; a blocking socket takes it whole or has failed. */
static int send_answer(int fd, struct least_answer *answer)
{
    struct frame frame = {(uint32_t)answer->head_length, 0};
    struct iovec parts[2 + LEAST_PIECES] = {{&frame, sizeof frame}, {answer->head, answer->head_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2 + (size_t)answer->pieces};

    for (int i = 0; i < answer->pieces; i++) {
        parts[2 + i] = answer->body[i];
        frame.body += (uint32_t)answer->body[i].iov_len;
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (long)(sizeof frame + frame.head + frame.body);
}

static void serve(int fd)
{
    char bytes[sizeof(struct frame) + LEAST_HEAD];
    struct least_answer answer;
    struct frame frame;
    size_t have;
    long got;

    do {
        for (have = 0; have < sizeof frame || have < sizeof frame + frame.head; have += (size_t)got) {
            if ((got = recv(fd, bytes + have, sizeof bytes - have, 0)) <= 0)
                return;
            memcpy(&frame, bytes, sizeof frame); /* while it is not whole, have is less than its size */
        }
        least_call(bytes + sizeof frame, frame.head, &answer); /* when it fails, the answer is empty */
    } while (send_answer(fd, &answer));
}

int main(int count, char **arguments)
{
    if (count != 7)
        return 2;
    python = arguments + 4;
    return serve_all(arguments[1], atoi(arguments[2]), atoi(arguments[3]), begin, serve);
}
