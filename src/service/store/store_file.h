/* store_file.h - the files of the KV store: the rows of one block, or one tail.
 *
 * A file is a header, the tokens that its content adds, the content as the engine gave it,
 * and a checksum of everything before. All numbers are little endian.
 *
 *     offset size
 *          0    8  magic "DS4 KV\r\n"
 *          8    4  version of this form of file
 *         12    4  kind: 1 block, 2 tail
 *         16   16  identity of the model
 *         32    4  version of the content's form (ds4_state_form)
 *         36    4  bit 0: rows without the trained-in roundings
 *         40    4  tokens in a block
 *         44    4  position: tokens up to the end of this content
 *         48    8  bytes of a full block
 *         56    8  bytes of the content
 *         64   16  name of the block before; of the model's root for the first
 *         80   16  own name
 *         96   32  zero
 *        128       tokens, 4 bytes each: of the block, or those after the last full block
 *                  content
 *    end-16   16  XXH3-128 of all bytes before
 *
 * Names chain: the root is the hash of identity and form, a block's name that of the name
 * before and its tokens, so that it stands for all tokens up to there. Bytes of a file are
 * not trusted: every field is compared with what the reader expects. */
#ifndef DS4_SERVICE_STORE_FILE_H
#define DS4_SERVICE_STORE_FILE_H

#include "base/err.h"
#include "engine/snapshot.h"
#include "service/store/store_hash.h"

enum {
    DS4_KV_FILE_VERSION = 1,
    DS4_KV_FILE_HEADER  = 128,
    DS4_KV_FILE_EXTRA   = 128 + 16,     /* header and checksum */
};

typedef enum ds4_kv_kind { DS4_KV_BLOCK = 1, DS4_KV_TAIL = 2 } ds4_kv_kind;

/* The owner of the state in a file. */
typedef struct ds4_kv_owner {
    ds4_kv_key     identity;
    ds4_state_form form;
} ds4_kv_owner;

typedef struct ds4_kv_file {
    ds4_kv_kind    kind;
    ds4_kv_owner   owner;
    uint32_t       pos, n_tokens;
    ds4_kv_key     parent, key;
    const uint8_t *tokens;              /* [n_tokens][4] little endian */
    const uint8_t *content;             /* [n_bytes] */
    uint64_t       n_bytes;
} ds4_kv_file;

ds4_kv_key ds4_kv_root(const ds4_kv_owner *owner);
ds4_kv_key ds4_kv_name(ds4_kv_kind kind, const ds4_kv_key *parent, const int32_t *tokens,
                       uint32_t n_tokens);

/* Bytes of a whole file with so many tokens and such content. */
uint64_t ds4_kv_file_bytes(uint32_t n_tokens, uint64_t content_bytes);

/* Write everything but the content, which the caller has put at its place before.
 *
 *   f        tokens and content are not looked at
 *   tokens   [f->n_tokens]
 *   bytes    [ds4_kv_file_bytes()], the content at ds4_kv_file_content()               */
void     ds4_kv_file_seal(const ds4_kv_file *f, const int32_t *tokens, uint8_t *bytes);
uint64_t ds4_kv_file_content(uint32_t n_tokens);        /* its offset */

/* Read a file: structure, checksum and name are checked, so that a file that passes is one
 * that ds4_kv_file_seal() finished. Pointers lead into bytes.
 *
 *   what    the file's name, for the message
 *
 * Returns DS4_OK; DS4_E_FORMAT saying what was found and expected.                     */
DS4_MUST_CHECK ds4_status ds4_kv_file_parse(const char *what, const uint8_t *bytes, uint64_t n_bytes,
                                            ds4_kv_file *out, ds4_err *err);

bool    ds4_kv_owner_eq(const ds4_kv_owner *a, const ds4_kv_owner *b);
int32_t ds4_kv_token(const uint8_t *tokens, uint32_t i);

#endif
