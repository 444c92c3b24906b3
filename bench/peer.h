/* Processes and threads at the other end of a unix socket, for handover_peer.c and least_peer.c. */

/* Listens on `path` and starts them. Each process calls begin() first, which returns 0 when it failed. Each thread
 * passes one connection after the other to serve(), which closes nothing. The connections go round the processes. Ends
 * with the process that started it; returns only when it failed. */
int serve_all(const char *path, int processes, int threads, int (*begin)(void), void (*serve)(int fd));
