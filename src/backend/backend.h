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

/* The largest sizes that steps will have, so that a device can take its scratch memory
 * once. */
typedef struct ds4_limits {
    uint32_t n_threads;             /* CPU only; 0: one for each processor */
    uint32_t max_batch;             /* tokens in a step */
    uint32_t max_logit_rows;        /* rows of logits in a step */
    uint32_t max_in;                /* longest activation row that is multiplied */
    uint32_t max_heads, max_head;   /* attention heads, values in one */
    uint32_t max_rows;              /* attention rows one token can see */
    uint32_t max_top_k;             /* rows the indexer chooses; 0: there is none */
    uint32_t max_experts;           /* routed experts of a layer */
    uint32_t max_used, max_ffn;     /* experts of a token, expert width */
    uint32_t max_embd;
    /* What steps will really use of it, for scratch_bytes(). */
    uint32_t n_rows, n_top_k;       /* attention rows in the planned context; 0: no token chooses */
    uint64_t act_bytes;             /* encoded inputs of one token for one operation */
    uint64_t moe_x_bytes[2];        /* one encoded input of routed and of shared experts */
    uint64_t moe_h_bytes;           /* one of their inner activations */
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
} ds4_tensor;

/* Told what an operation took, or a named part of one, and how many bytes of weights it
 * read. name has static storage. */
typedef void ds4_time_fn(void *ctx, const char *name, uint64_t ns, uint64_t weight_bytes);

typedef struct ds4_backend {
    const char *name;               /* "cpu", "cuda", "metal": also the spelling in options */

    /* Life cycle. open() fails with DS4_E_DEVICE or DS4_E_NOMEM and a reason, never exits. */
    ds4_status (*open)(ds4_dev **out, const ds4_limits *limits, ds4_err *err);
    void       (*close)(ds4_dev *dev);                          /* NULL is fine */
    uint32_t   (*threads)(const ds4_dev *dev);
    /* Which kernels compute: devices that say the same give the same bits. */
    const char *(*family)(const ds4_dev *dev);

    /* Working memory that a device with these limits touches. */
    uint64_t   (*scratch_bytes)(const ds4_limits *limits);

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
     * tensors that were bound are in place. Fails with DS4_E_NOMEM, DS4_E_IO with the path,
     * DS4_E_UNSUPPORTED for a type without products, DS4_E_DEVICE. */
    ds4_status (*bind)(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err);
    ds4_status (*load)(ds4_dev *dev, ds4_err *err);

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
    /* Time the operations of every run() from now on; fn NULL ends it. */
    void       (*time)(ds4_dev *dev, ds4_time_fn *fn, void *ctx);
} ds4_backend;

extern const ds4_backend ds4_backend_cpu;   /* always built */

/* ---- backends.c: what is alike for all of them ----------------------------------------------- */

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
