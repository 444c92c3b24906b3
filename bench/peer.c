#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"

static int listener;
static sem_t *mine, *next; /* whose turn it is to accept a connection: this process's, and that of the one after it */
static void (*serve_one)(int fd);

static void *serve_in_turn(void *unused)
{
    (void)unused;
    for (;;) {
        int fd;

        sem_wait(mine);
        fd = accept(listener, NULL, NULL);
        sem_post(next);
        if (fd < 0)
            continue;
        serve_one(fd);
        close(fd);
    }
    return NULL;
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        perror(path);
        return 0;
    }
    chmod(path, 0666);
    return 1;
}

/* Makes the others; returns which of them the caller is. */
static int fork_all(int processes)
{
    for (int one = 1; one < processes; one++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            return one;
        }
    return 0;
}

int serve_all(const char *path, int processes, int threads, int (*begin)(void), void (*serve)(int fd))
{
    sem_t *turns = mmap(NULL, processes * sizeof *turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int which;

    if (turns == MAP_FAILED || !listen_on(path))
        return 1;
    for (int one = 0; one < processes; one++)
        sem_init(&turns[one], 1, one == 0);
    which = fork_all(processes);
    mine = &turns[which];
    next = &turns[(which + 1) % processes];
    serve_one = serve;
    if (!begin())
        return 1;
    for (int more = threads - 1; more > 0; more--) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, serve_in_turn, NULL) != 0)
            return 1;
    }
    serve_in_turn(NULL);
    return 0;
}
