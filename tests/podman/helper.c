/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What busybox can't do inside a container, as one static program:
 *
 *   helper notify MESSAGE     send a datagram to $NOTIFY_SOCKET
 *   helper accept             accept on descriptor 3 (socket activation), answer with LISTEN_FDS and LISTEN_PID
 *   helper write FD SIZE      write so many bytes at once, then 'newline'; waits for all of it
 *   helper leave SECONDS      leave a child behind that keeps the descriptors open, and end
 *   helper eat SIZE           touch so many bytes of memory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify(const char *message)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    if (!path || fd < 0)
        return 2;
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    return sendto(fd, message, strlen(message), 0, (struct sockaddr *)&to, sizeof to) < 0;
}

static int accept_one(void)
{
    int fd = accept(3, NULL, NULL);

    if (fd < 0)
        return 2;
    dprintf(fd, "fds=%s pid=%s self=%d\n", getenv("LISTEN_FDS"), getenv("LISTEN_PID"), (int)getpid());
    return 0;
}

static int write_all(int fd, size_t size)
{
    char *bytes = malloc(size + 1);

    memset(bytes, 'x', size);
    bytes[size] = '\n';
    for (size_t done = 0; done < size + 1;) {
        ssize_t n = write(fd, bytes + done, size + 1 - done);
        if (n < 0)
            return 2;
        done += (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "notify") == 0)
        return notify(argv[2]);
    if (argc == 2 && strcmp(argv[1], "accept") == 0)
        return accept_one();
    if (argc == 4 && strcmp(argv[1], "write") == 0)
        return write_all(atoi(argv[2]), strtoul(argv[3], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "leave") == 0) {
        if (fork() == 0)
            sleep((unsigned)atoi(argv[2]));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "eat") == 0) {
        size_t size = strtoul(argv[2], NULL, 10);
        volatile char *memory = malloc(size);

        for (size_t at = 0; at < size; at += 4096)
            memory[at] = 1;
        return 0;
    }
    return 64;
}
