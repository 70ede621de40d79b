/* backend.h - what a CPU, CUDA or Metal backend provides (floor 2). */
#ifndef DS4_BACKEND_BACKEND_H
#define DS4_BACKEND_BACKEND_H

#include "backend/op.h"
#include "base/err.h"

typedef struct ds4_dev ds4_dev;             /* one opened device, defined by each backend */
typedef struct ds4_program ds4_program;     /* a list of operations made ready, defined by each backend */
typedef uint64_t ds4_ticket;                /* of queued work; later work has a larger one */

/* Kinds of device memory. */
typedef enum ds4_mem {
    DS4_MEM_DEVICE,                 /* what work reads and writes all the time */
    DS4_MEM_HOST,                   /* of the host, for the disk to write to and the device to read */
    DS4_MEM_COLD,                   /* rows of which few are read: may lie in files, see ds4_limits */
} ds4_mem;

/* The beginning of every buffer; a backend puts it first in a type of its own. */
struct ds4_buf {
    const struct ds4_backend *backend;
    ds4_mem  kind;
    uint64_t n_bytes;
    uint8_t *host;                  /* where the host may address it; NULL: nowhere */
};

/* One piece of a transfer between a device and the host. */
typedef struct ds4_copy {
    ds4_view at;
    uint64_t n_bytes;
    uint8_t *host;                  /* [n_bytes]; write() only reads it */
} ds4_copy;

/* A device as it can be described before anything of it is taken. */
typedef struct ds4_dev_info {
    char        name[96];           /* of the hardware, for people; "" when the system does not tell */
    char        family[64];         /* devices that say the same give the same bits */
    uint64_t    mem_total, mem_free;        /* bytes; 0: unknown */
    bool        unified;            /* its memory is the host's */
    uint32_t    page_bytes;         /* commit() and discard() work on whole ones */
    uint32_t    cut;                /* prompts cut at multiples of it keep their bits; 1: anywhere */
    ds4_kv_form kv_form;            /* of rows in its memory */
    uint32_t    n_threads;          /* of the host, unless ds4_limits says how many */
} ds4_dev_info;

/* The most that steps will ask for. What depends on the model's widths, compile() sees itself. */
typedef struct ds4_limits {
    uint32_t    n_threads;          /* of the host; 0: as ds4_dev_info says */
    uint32_t    max_batch;          /* tokens in a step */
    uint32_t    max_logit_rows;     /* rows of logits in a step */
    uint32_t    max_ctx;            /* tokens of a session */
    const ds4_kv_layout *kv;        /* of all sessions' state; stays as long as the device is open */
    uint64_t    state_bytes;        /* planned for sessions and steps; 0: unknown */
    bool        copy_weights;       /* of every token, out of the file: nothing may push them out of memory */
    const char *spill_dir;          /* for DS4_MEM_COLD; NULL: it is device memory */
    uint64_t    spill_bytes;        /* of that memory may be resident */
    uint64_t    spill_row;          /* bytes of a row there */
} ds4_limits;

/* A tensor of a model file. */
typedef struct ds4_tensor {
    const char    *name, *path;     /* of the tensor, of its file */
    const uint8_t *data;            /* [n_bytes] mapped */
    uint64_t       file_offset, n_bytes;
    uint32_t       dtype;           /* ds4_dtype */
    uint32_t       n_in, n_out, n_mats;     /* [n_mats][n_out][n_in] */
    ds4_use        use;
    bool           by_rows;         /* single rows are read (ds4_op_embed), nothing is multiplied with it */
} ds4_tensor;

/* Told what an operation took, or a named part of one, and how many bytes of weights it
 * read. name has static storage. */
typedef void ds4_time_fn(void *ctx, const char *name, uint64_t ns, uint64_t weight_bytes);

typedef struct ds4_backend {
    const char *name;               /* "cpu", "cuda", "metal": also the spelling in options */

    /* Devices are numbered from 0; probe() fails with DS4_E_ARG behind the last one. It takes
     * nothing. open() fails with DS4_E_DEVICE or DS4_E_NOMEM and a reason, never exits. */
    ds4_status (*probe)(uint32_t i_dev, ds4_dev_info *out, ds4_err *err);
    ds4_status (*open)(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err);
    void       (*close)(ds4_dev *dev);                          /* NULL is fine */

    /* Working memory that programs of these operations touch while sessions have n_ctx tokens. The
     * operations' buffers and layouts may be NULL: this is asked before anything is taken. */
    uint64_t   (*scratch_bytes)(const ds4_limits *limits, const ds4_op *ops, uint32_t n, uint32_t n_ctx);

    /* Memory. alloc() reserves a buffer of zeros; commit() takes the memory of a part of it, which
     * must have returned before anything touches the part. discard() is its inverse: the content
     * vanishes, behind queued work; commit() the part again before it is used again. A CPU takes
     * memory as it is touched, a GPU in commit(); both fail with DS4_E_NOMEM, files with DS4_E_IO. */
    ds4_status (*alloc)(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err);
    ds4_status (*commit)(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err);
    void       (*discard)(ds4_dev *dev, ds4_view at, uint64_t n_bytes);
    void       (*free)(ds4_dev *dev, ds4_buf *buf);             /* NULL is fine */
    uint64_t   (*resident)(const ds4_dev *dev, ds4_mem kind);   /* bytes in memory of that kind, at most */

    /* Lists of copies, each list in one go. Fail with DS4_E_ARG outside of a buffer, DS4_E_IO for
     * files, DS4_E_DEVICE.
     *
     * read() sees what programs wrote that were waited for. Any thread may call it, also while
     * programs run, for memory that no queued work writes. write() is done before programs that
     * are run later; no queued work may use the memory. host may be given back when they return. */
    ds4_status (*read)(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);
    ds4_status (*write)(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);

    /* Weights. bind() decides where a tensor lies: the device uses the mapping, copies, repacks or
     * pins. Its name and path are lent until load() returns, its data until close(). After load() all
     * tensors that were bound are in place; it tells of what it copies. Fails with DS4_E_NOMEM,
     * DS4_E_IO with the path, DS4_E_UNSUPPORTED for a type without products, DS4_E_DEVICE. */
    ds4_status (*bind)(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err);
    ds4_status (*load)(ds4_dev *dev, const ds4_loading *told, ds4_err *err);

    /* Work.
     *
     * compile() makes a list ready, once: whatever depends on the list alone is worked out
     * here, and what the device cannot do is refused here. ops[0..n) are lent until
     * drop_program(). Fails with DS4_E_UNSUPPORTED, DS4_E_NOMEM, DS4_E_DEVICE.
     *
     * run() executes or queues a program over one batch; programs run in the order of their
     * run()s. The batch and its arrays stay valid until wait() has returned for its ticket; then
     * the results are visible to read(). What fails may be told by run() or by wait(). */
    ds4_status (*compile)(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err);
    void       (*drop_program)(ds4_dev *dev, ds4_program *program);     /* not queued; NULL is fine */
    ds4_status (*run)(ds4_dev *dev, const ds4_program *program, const ds4_batch *batch, ds4_ticket *ticket,
                      ds4_err *err);
    ds4_status (*wait)(ds4_dev *dev, ds4_ticket ticket, ds4_err *err);
    /* Time the operations of every run() from now on; fn NULL ends it. What a run took is told before
     * its wait() returns. Operations that a device fuses are told under one name, as "o_b+leave". */
    void       (*time)(ds4_dev *dev, ds4_time_fn *fn, void *ctx);
} ds4_backend;

extern const ds4_backend ds4_backend_cpu;   /* always built */

/* The backend of a name; NULL or "": the first of this build that has a device.
 * Returns DS4_OK; DS4_E_ARG naming those that there are. */
DS4_MUST_CHECK ds4_status ds4_backend_find(const char *name, const ds4_backend **out, ds4_err *err);
const ds4_backend        *ds4_backend_at(uint32_t i);       /* in order of preference; NULL behind the last */

/* ---- backend_memory.c: memory of any backend ---------------------------------------------------- */

/* Is n_bytes at `at` inside its buffer, and is that of this backend? Returns DS4_OK; DS4_E_ARG. */
DS4_MUST_CHECK ds4_status ds4_view_check(const ds4_backend *backend, ds4_view at, uint64_t n_bytes,
                                         ds4_err *err);

/* One copy. */
DS4_MUST_CHECK ds4_status ds4_backend_read(const ds4_backend *backend, ds4_dev *dev, ds4_view from, void *to,
                                           uint64_t n_bytes, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_backend_write(const ds4_backend *backend, ds4_dev *dev, ds4_view to,
                                            const void *from, uint64_t n_bytes, ds4_err *err);

/* A buffer that is wanted as a whole: alloc() and commit(). */
DS4_MUST_CHECK ds4_status ds4_backend_take(const ds4_backend *backend, ds4_dev *dev, ds4_mem kind,
                                           uint64_t n_bytes, ds4_buf **out, ds4_err *err);

#endif
