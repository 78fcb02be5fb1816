/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's public interface: all that Python (through cffi) and other programs may call.
 *
 * The part between the two CDEF marks is what cffi parses (tools/make_cffi.py cuts it out), so that there
 * is no second copy that could drift. Only enums, plain structs, opaque types and prototypes stand there.
 *
 * Errors: a function returns a negative errno value on failure; zero or a positive value is a result. One that may wait
 * returns -EINTR when a signal handler ran, with nothing done, so that the caller can act on the signal and call again.
 * Descriptors that a function returns are close-on-exec and belong to the caller.
 */
#ifndef REMORA_H
#define REMORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define REMORA_API __attribute__((visibility("default")))

/* CDEF BEGIN */

/* The first byte of each packet on a control socket (docs/architecture.md, "Control protocol"). */
enum remora_packet {
    REMORA_PACKET_CONTROL = 0,
    REMORA_PACKET_STDIN = 1,
    REMORA_PACKET_STDOUT = 2,
    REMORA_PACKET_STDERR = 3,
    REMORA_PACKET_RESIZE = 4,
    REMORA_PACKET_EXIT = 5,
};

enum remora_limits {
    REMORA_PAYLOAD_MAX = 65536, /* bytes after the type byte */
    REMORA_PACKET_FDS_MAX = 64, /* descriptors with one packet */
    REMORA_RECORD_MAX = 2048, /* bytes of one slot of an exit record file */
};

/* ---- spawning and talking ---------------------------------------------------------------- */

/*
 * Start a monitor: `program` is executed with argv {"remora-monitor", short_id, name}, the
 * configuration (msgpack, `size` bytes) on a sealed memfd and the descriptors of the table in
 * docs/architecture.md. Borrows all descriptors. `environment` is NULL-terminated.
 * Returns the first connection (SOCK_SEQPACKET) or -errno.
 */
int remora_spawn(const char *program, const char *short_id, const char *name, const void *configuration, size_t size,
                 int lock_fd, int rootfs_fd, const int *preserved, size_t n_preserved, char *const *environment);

/* Connect to the monitor of a run folder: a descriptor, -ENOENT or -ECONNREFUSED when there is none. */
int remora_connect(const char *run_dir);

/* Send one packet, with descriptors (borrowed). Waits for room. 0 or -errno (-EPIPE: the monitor is gone). */
int remora_send(int fd, int type, const void *payload, size_t size, const int *fds, size_t n_fds);

/*
 * Receive one packet: returns the payload's size and sets *type; -ECONNRESET at the end of the
 * connection, -ETIMEDOUT after timeout_ms (-1 waits for ever). `capacity` should be REMORA_PAYLOAD_MAX.
 */
ssize_t remora_receive(int fd, int *type, void *payload, size_t capacity, int timeout_ms);

/* A sealed memfd with these bytes, or -errno. */
int remora_sealed_memory(const char *name, const void *bytes, size_t size);

/* ---- the attached terminal ---------------------------------------------------------------- */

enum remora_relay_end {
    REMORA_RELAY_EXITED = 0, /* an EXIT packet came: its payload is in `exit` */
    REMORA_RELAY_DETACHED = 1, /* the detach keys were typed */
    REMORA_RELAY_LOST = 2, /* the connection ended without EXIT, and can't be made anew: the monitor is gone */
    REMORA_RELAY_LAGGED = 3, /* cut off by the monitor because this client did not read */
    REMORA_RELAY_OUTPUT_CLOSED = 4, /* our own stdout is gone (EPIPE) */
};

struct remora_relay_options {
    int connection; /* an attached connection; borrowed */
    bool block, owner; /* as it was attached */
    int64_t out_position, err_position; /* bytes of each stream before this side was attached; -1: not known */
    const char *run_dir; /* for a second connection: signals and resizes overtake a blocked stdin; and for a new one */
    const char *session; /* "" or the exec session */
    int in, out, err; /* descriptors of this side, -1 = not attached */
    bool raw; /* the session has a tty: `in`, if it is a terminal, goes into raw mode */
    bool proxy_signals; /* pass INT, TERM, HUP, QUIT, USR1 … on to the container */
    const unsigned char *detach_keys; /* NULL or length 0: none */
    size_t detach_length;
    bool handle_output_closed; /* send close_output on EPIPE of out/err */
};

struct remora_relay_result {
    int end; /* enum remora_relay_end */
    int connection; /* the caller's: made anew in place of the one that ended; else -1 */
    uint64_t lost_bytes; /* of the session's output, known not to have come here */
    size_t exit_size; /* bytes of the EXIT packet's map */
    unsigned char exit[4096];
};

/*
 * Copy between the descriptors and an attached connection until one of the ends above. The terminal's
 * settings are put back on every way out, also on a fatal signal to this process, which takes effect after that:
 * where the caller has a handler, it runs, and the result is -EINTR. Detach keys count only where `in` is a terminal.
 * 0 or -errno.
 */
int remora_relay(const struct remora_relay_options *options, struct remora_relay_result *result);

/* Window size of a terminal: rows << 16 | columns, or -errno (-ENOTTY). */
int remora_window_size(int fd);

/* ---- state on disk ------------------------------------------------------------------------- */

/*
 * Take the OFD write lock of a run folder, making the folder (0700) and the lock file where needed; sees to it
 * that the locked file is still the one at the path. wait: block until it is free. A descriptor, or -EAGAIN when held.
 */
int remora_lock(const char *run_dir, bool wait);

/* 1: the lock is held (a monitor or a command is at work), 0: free or absent; -errno. Takes nothing. */
int remora_lock_held(const char *run_dir);

/* Wait (inotify, no polling) until the lock of a run folder is free or timeout_ms is over: 0, -ETIMEDOUT, -errno. */
int remora_lock_wait(const char *run_dir, int timeout_ms);

/* The valid exit record of an `exit` file: its size in bytes (msgpack), 0 if the file has none yet, -ENOENT, -errno. */
ssize_t remora_record_read(const char *path, void *buffer, size_t capacity);

/* Read a whole small file without following a final symlink: size or -errno (-EFBIG). */
ssize_t remora_read_file(const char *path, void *buffer, size_t capacity);

/* Remove a tree without following symlinks or crossing into other mounts; 0 (also when absent) or -errno. */
int remora_remove_tree(const char *path);

/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); -ESRCH: none, or a zombie. */
int64_t remora_process_start(pid_t pid);

/*
 * After a start that failed or was cut off, for runtimes then forget what they made: kill whatever is left in the
 * cgroup `path` ("/remora/<id>") of every hierarchy, and remove it. Nothing happens when `path` doesn't bear the id.
 */
void remora_cgroup_remove(const char *path, const char *id);

/* ---- root file systems ---------------------------------------------------------------------- */

/*
 * A detached overlay mount: `lower` nearest first (absolute paths), upper and work folders. In a user namespace its
 * marks are kept in attributes that are allowed there (`userxattr`). volatile_upper: no syncing (for containers that go
 * with their end). id_map_fd: a user namespace by whose maps the owners of the lower layers are seen, -1 for none;
 * -EINVAL or -EPERM where the kernel or a file system does not do that. A mount descriptor (as from O_PATH) or -errno.
 */
int remora_overlay(const char *const *lower, size_t n_lower, const char *upper, const char *work, bool volatile_upper,
                   int id_map_fd);

/*
 * Take a mount out of our own mount namespace: the one at `path` becomes a detached one, which goes with its last
 * descriptor. A mount descriptor or -errno.
 */
int remora_take_mount(const char *path);

/*
 * A detached clone of what is mounted at `path` in another mount namespace (descriptor of /proc/PID/ns/mnt); -ENOENT
 * when nothing is. A mount descriptor or -errno.
 */
int remora_clone_mount(int namespace_fd, const char *path);

/* openat2 with RESOLVE_IN_ROOT below `root_fd`: symlinks can't lead out. A descriptor or -errno. */
int remora_open_in_root(int root_fd, const char *path, int flags, unsigned int mode);

/* mkdir -p below root_fd, owned by uid:gid where made; nothing leads out of the root. 0, or -errno (-ENOTDIR). */
int remora_mkdir_in_root(int root_fd, const char *path, unsigned int mode, uid_t uid, gid_t gid);

/* ---- user namespaces ------------------------------------------------------------------------- */

struct remora_id_range { /* ids inside the namespace, and what they are outside */
    uint32_t inside, outside, count;
};

struct remora_userns_maps {
    const struct remora_id_range *uids, *gids;
    size_t n_uids, n_gids;
    const char *newuidmap, *newgidmap; /* programs for what the caller may not write itself; NULL: none */
};

enum remora_userns_step {
    REMORA_USERNS_UNSHARE = 1, /* the kernel gave no namespace */
    REMORA_USERNS_UIDS = 2, /* the map of user ids was refused */
    REMORA_USERNS_GIDS = 3, /* that of group ids */
    REMORA_USERNS_PROCESS = 4, /* there was no helper process */
};

struct remora_userns_failure {
    int step; /* enum remora_userns_step; 0 without a failure */
    char words[512]; /* what the map program said, or "" */
};

/*
 * Enter a new user namespace with these maps, and a mount namespace that belongs to it. For a process with one thread.
 * One own id, or any with CAP_SETUID and CAP_SETGID, needs no program; groups can't be dropped in the former case.
 * 0, or -errno with *failure filled in; from the step `uids` on this process is in a useless namespace and should end.
 */
int remora_enter_userns(const struct remora_userns_maps *maps, struct remora_userns_failure *failure);

/* Enter the user namespace that `fd` refers to, and a new mount namespace that belongs to it. 0 or -errno. */
int remora_join_userns(int fd);

/* Make a user namespace with these maps, without entering it: a descriptor, or -errno with *failure filled in. */
int remora_make_userns(const struct remora_userns_maps *maps, struct remora_userns_failure *failure);

/*
 * Make namespaces (`network`, `ipc`, `uts`, `cgroup`) that belong to the user namespace user_fd, or with -1 to this
 * process's own: n descriptors in fds. 0 or -errno (-EINVAL: another kind).
 */
int remora_make_namespaces(int user_fd, const char *const *kinds, size_t n, int *fds);

/* The map of a user namespace as seen from this process (text as in /proc/PID/uid_map): bytes or -errno (-EFBIG). */
ssize_t remora_userns_map(int fd, bool groups, char *buffer, size_t capacity);

/*
 * Copy the tree of the folder `source_fd` to the new folder `target`: owners as the maps have them (inside: the owner
 * there; outside: the owner of the copy), modes, times, attributes, hard links and holes kept. An owner that is in no
 * range becomes `other_uid`, `other_gid`. On stable storage when it returns 0; -errno leaves an unfinished copy.
 */
int remora_copy_shifted(int source_fd, const char *target, const struct remora_userns_maps *maps, uid_t other_uid,
                        gid_t other_gid);

/* ---- logs ------------------------------------------------------------------------------------ */

struct remora_log_options {
    int64_t since_ns; /* records later than this wall time; INT64_MIN: all */
    int64_t until_ns; /* records not later than this; INT64_MAX: all */
    int64_t tail; /* lines; -1: all */
    bool follow; /* go on until the container ends (its lock is free) */
    bool timestamps;
    bool neutralise; /* make control sequences harmless (output to a terminal) */
    int out, err; /* where stdout and stderr records go; may be the same */
    const char *prefix; /* before each line, or NULL */
    const char *run_dir; /* with follow: whose lock tells the end; NULL: none */
};

/*
 * Print a container's log: the file at `path` after the rotated ones, PATH.1 the newest of them, in CRI format
 * (Kubernetes CRI logging) or as Docker's json-file, as each record's first byte tells. Partial records are joined.
 * 0; -EPIPE: the reader of out went away; other -errno.
 */
int remora_log_print(const char *path, const struct remora_log_options *options);

/*
 * The same for what journald keeps of a container, by its full id. `program`: path of journalctl. As above; -EIO when
 * journalctl failed, which has said why on stderr.
 */
int remora_log_print_journal(const char *program, const char *id, const struct remora_log_options *options);

/* The library's version, "0.1.0". */
const char *remora_version(void);

/* CDEF END */

#ifdef __cplusplus
}
#endif

#endif
