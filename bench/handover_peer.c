/* The other end of handover.c: handover_peer SOCKET PROCESSES THREADS. Each thread serves one connection: whatever comes is
 * answered with a few bytes. Ends with the process that started it. */

#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER 104 /* bytes, as in handover.c */

static int listener;

static void *serve(void *unused)
{
    char bytes[4096], answer[ANSWER] = {0};

    (void)unused;
    for (;;) {
        struct pollfd one = {.fd = accept(listener, NULL, NULL), .events = POLLIN};

        if (one.fd < 0)
            continue;
        while (poll(&one, 1, -1) == 1 && recv(one.fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            if (send(one.fd, answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
                break;
        close(one.fd);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (count != 4)
        return 2;
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        perror(address.sun_path);
        return 1;
    }
    chmod(address.sun_path, 0666);
    for (int more = atoi(arguments[2]) - 1; more > 0; more--)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    for (int more = atoi(arguments[3]) - 1; more > 0; more--) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, serve, NULL) != 0)
            return 1;
    }
    serve(NULL);
    return 0;
}
