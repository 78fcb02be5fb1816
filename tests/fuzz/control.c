/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: clients send any packets to a monitor whose container runs. The monitor neither crashes nor leaks a
 * descriptor, and all that it says to a client is packets of the protocol, whose maps can be read.
 *
 * The monitor is the real worker but for two things: the container's process only waits for SIGKILL, and there is no
 * keeper, so that nothing is ever executed; the process's end is told as a keeper would.
 *
 * The input: a byte of flags (bit 0: the container has a tty; bit 1: it is restarted), then packets, each a byte of
 * flags and a stretch (fuzz.h) that begins with its type byte. Its flags: bit 0, which client; bits 1 and 2, how many
 * descriptors come with it; bit 3, the client reads what it was sent; bit 4, it hangs up afterwards and connects anew;
 * bit 5, the container writes some output first; bit 6, the container reads its input.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "container/control.h"
#include "container/monitor.h"
#include "container/tell.h"
#include "engine/client.h"
#include "fuzz.h"
#include "remora.h"

FUZZ_BOUNDED_ALLOCATIONS

enum {
    CLIENTS = 2,
    PACKETS_MAX = 64,
    KEPT_SIZE = 64 << 20,
};

struct scene {
    void *kept; /* of KEPT_SIZE */
    struct monitor *monitor; /* in it */
    struct board *board; /* in it */
    struct config config;
    struct source round; /* always ready: ends a round of the loop */
    int peers[CLIENTS]; /* the clients' ends */
    int theirs[3]; /* the process's ends of its streams */
};

static void round_over(struct source *source, uint32_t events)
{
    (void)events;
    source->loop->quit = true;
}

static void run_rounds(struct scene *scene)
{
    for (int i = 0; i < 3; i++) {
        scene->monitor->hub.loop.quit = false;
        loop_run(&scene->monitor->hub.loop);
    }
}

/* ---- the protocol, without the end of the loop ---- */

static void client_gone(struct client *client)
{
    struct monitor *monitor = monitor_of(client->hub);

    exec_forget_client(monitor, client);
    container_forget_client(&monitor->container, client);
}

static void check_nothing(struct hub *hub)
{
    (void)hub;
}

static void idle(struct hub *hub, bool quiet)
{
    (void)hub;
    (void)quiet;
}

static const struct protocol protocol = {
    .chunk = REMORA_PAYLOAD_MAX,
    .packet = control_packet,
    .lagging = control_tell_lagging,
    .lost = control_tell_lost,
    .interrupted = control_interrupted,
    .gone = client_gone,
    .check_done = check_nothing,
    .idle = idle,
};

/* ---- the monitor ---- */

static void configure(struct config *config, unsigned flags)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    const char *what;
    char *bytes;

    msg_out_init(&out, 9);
    msg_put_int(&out, "version", 1);
    msg_put_text(&out, "id", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    msg_put_text(&out, "name", "box");
    msg_put_text(&out, "data_dir", "/nowhere/data");
    msg_put_text(&out, "run_dir", "/nowhere/run");
    msg_put_bool(&out, "tty", (flags & 1) != 0);
    msg_put_key(&out, "restart");
    msgpack_pack_map(&out.packer, 1);
    msg_put_text(&out, "policy", (flags & 2) != 0 ? "always" : "no");
    msg_put_key(&out, "env");
    msgpack_pack_array(&out.packer, 0);
    msg_put_key(&out, "runtime");
    msgpack_pack_array(&out.packer, 1);
    msgpack_pack_str(&out.packer, 4);
    msgpack_pack_str_body(&out.packer, "runc", 4);
    bytes = malloc(out.buffer.size);
    if (bytes == NULL)
        abort();
    memcpy(bytes, out.buffer.data, out.buffer.size);
    if (config_init(config, bytes, out.buffer.size, &what) < 0)
        abort();
}

static void not_signalled(struct children *children, int signal)
{
    (void)children;
    (void)signal;
}

/* A process that takes every signal it can: made once, and again when it was killed. */
static pid_t process(void)
{
    static pid_t pid;
    sigset_t all, saved;

    if (pid > 0 && kill(pid, 0) == 0)
        return pid;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &saved);
    pid = fork();
    if (pid < 0)
        abort();
    if (pid > 0) {
        sigprocmask(SIG_SETMASK, &saved, NULL);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

/* What a keeper does when a process has ended. */
static void reap(struct scene *scene)
{
    struct board *board = scene->board;
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);

    for (unsigned i = 0; pid > 0 && i < board->end_top; i++) {
        if (board->ends[i].pid != pid)
            continue;
        board->ends[i].status = status;
        board->ends[i].ended = pid;
        if (eventfd_write(board->ends_fd, 1) < 0)
            abort();
    }
}

static void lay_out(struct scene *scene)
{
    struct kept kept;

    if (kept_map(&kept, KEPT_SIZE) < 0)
        abort();
    scene->kept = kept.at;
    scene->monitor = kept_take(&kept, sizeof(*scene->monitor), sizeof(max_align_t));
    scene->board = kept_take(&kept, sizeof(*scene->board), sizeof(max_align_t));
    if (kept_pool(&kept, &scene->monitor->exec_pool, sizeof(struct exec), EXECS_MAX) < 0 ||
        hub_lay_out(&scene->monitor->hub, &kept) < 0)
        abort();
    scene->board->upgrade_fd = -1;
    scene->board->keeper_fd = scene->board->answer_fd = -1;
    scene->board->ends_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void make_streams(struct scene *scene, struct stdio *stdio, bool tty)
{
    int master = tty ? posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

    if (!tty) {
        if (stdio_pipes(stdio, true, getuid(), getgid()) < 0)
            abort();
        for (int i = 0; i < 3; i++)
            scene->theirs[i] = fd_take(&stdio->theirs[i]);
    } else {
        stdio->out = master;
        if (master < 0 || unlockpt(master) < 0 || stdio_pty(stdio, 24, 80) < 0)
            abort();
        scene->theirs[0] = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        scene->theirs[1] = fcntl(scene->theirs[0], F_DUPFD_CLOEXEC, 0);
        scene->theirs[2] = -1;
    }
    for (int i = 0; i < 3; i++)
        if (scene->theirs[i] >= 0)
            fcntl(scene->theirs[i], F_SETFL, (i == 0 && !tty ? O_RDONLY : O_RDWR) | O_NONBLOCK);
}

static void connect_client(struct scene *scene, int which)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
        client_new(&scene->monitor->hub, pair[0]) == NULL)
        abort();
    scene->peers[which] = pair[1];
}

static void scene_init(struct scene *scene, unsigned flags)
{
    struct monitor *monitor;
    CLEANUP(stdio_deinit) struct stdio stdio;

    lay_out(scene);
    monitor = scene->monitor;
    configure(&scene->config, flags);
    monitor->config = &scene->config;
    monitor->lock_fd = monitor->run_dir_fd = monitor->signals.fd = monitor->listener.fd = -1;
    stdio_init(&stdio);
    make_streams(scene, &stdio, (flags & 1) != 0);
    if (hub_init(&monitor->hub, &protocol, scene->board, not_signalled) < 0 ||
        container_init(&monitor->container, monitor) < 0 ||
        session_start(&monitor->container.main, &stdio, process()) < 0)
        abort();
    children_release(&monitor->hub.children);
    monitor->container.state = CONTAINER_RUNNING;
    monitor->container.first_start_over = true;
    if (source_add(&monitor->hub.loop, &scene->round, eventfd(1, EFD_CLOEXEC), EPOLLIN, round_over) < 0)
        abort();
    for (int i = 0; i < CLIENTS; i++)
        connect_client(scene, i);
}

/* As a worker's end. */
static void scene_deinit(struct scene *scene)
{
    struct monitor *monitor = scene->monitor;

    exec_free_all(monitor);
    while (monitor->hub.clients != NULL)
        client_free(monitor->hub.clients);
    container_deinit(&monitor->container);
    log_deinit(&monitor->log);
    fd_close(&monitor->run_dir_fd);
    hub_deinit(&monitor->hub);
    config_deinit(&scene->config);
    munmap(scene->kept, KEPT_SIZE);
}

/* ---- the clients ---- */

static void check_packet(const char *packet, size_t size)
{
    CLEANUP_MSG struct msg msg = {0};

    switch (packet[0]) {
    case REMORA_PACKET_CONTROL:
    case REMORA_PACKET_EXIT:
        if (msg_parse(&msg, packet + 1, size - 1) < 0)
            abort();
        if (packet[0] == REMORA_PACKET_CONTROL &&
            (msg_get(&msg.root, "op") == NULL) == (msg_get(&msg.root, "event") == NULL))
            abort();
        break;
    case REMORA_PACKET_STDOUT:
    case REMORA_PACKET_STDERR:
        break;
    default:
        abort();
    }
}

static void take_answers(int peer)
{
    static char packet[1 + REMORA_PAYLOAD_MAX + 1];
    ssize_t n;

    while ((n = recv(peer, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
        if (n > 1 + REMORA_PAYLOAD_MAX)
            abort();
        check_packet(packet, (size_t)n);
    }
}

static void write_output(const struct scene *scene)
{
    static const char text[20000] = "output";

    for (int i = 1; i < 3; i++)
        if (scene->theirs[i] >= 0 && write(scene->theirs[i], text, sizeof(text)) < 0)
            continue; /* full, or closed by the monitor */
}

static void read_input(const struct scene *scene)
{
    char text[4096];

    while (read(scene->theirs[0], text, sizeof(text)) > 0)
        ;
}

/* As remora_send, but what doesn't fit into the socket is lost. */
static void send_packet(int peer, const uint8_t *packet, size_t size, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } ancillary = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {(void *)(uintptr_t)packet, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    const int fds[3] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};

    if (n_fds > 0) {
        ancillary.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(&ancillary.align), fds, n_fds * sizeof(int));
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    }
    (void)sendmsg(peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void play(struct scene *scene, struct fuzz_input *input)
{
    unsigned flags = fuzz_byte(input);
    int which = flags & 1, peer = scene->peers[which];
    size_t size;
    const uint8_t *packet = fuzz_stretch(input, &size);

    if (flags & 32)
        write_output(scene);
    if (size > 0)
        send_packet(peer, packet, size, flags >> 1 & 3);
    run_rounds(scene);
    reap(scene);
    if (flags & 8)
        take_answers(peer);
    if (flags & 64)
        read_input(scene);
    if (flags & 16) {
        close(peer);
        run_rounds(scene);
        connect_client(scene, which);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scene scene;
    struct fuzz_input input = {data, size};
    int lowest;

    process();
    lowest = fuzz_free_descriptor();
    signal(SIGPIPE, SIG_IGN);
    scene_init(&scene, fuzz_byte(&input));
    for (int i = 0; i < PACKETS_MAX && input.size > 0; i++)
        play(&scene, &input);
    for (int i = 0; i < CLIENTS; i++) {
        take_answers(scene.peers[i]);
        close(scene.peers[i]);
    }
    run_rounds(&scene);
    source_remove(&scene.round);
    scene_deinit(&scene);
    for (int i = 0; i < 3; i++)
        fd_close(&scene.theirs[i]);
    if (fuzz_free_descriptor() != lowest)
        abort();
    return 0;
}
