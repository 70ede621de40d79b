/* sha256.c - see sha256.h. The only file that sees OpenSSL: its code uses the processor's own
 * instructions and is four to eight times as fast as plain C, which counts for files of 87 GB. */
#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct ds4_sha256_run {
    EVP_MD_CTX *ctx;
    bool        failed;
};

/* Every provider has SHA-256, and a digest of something else would be a key that is another's: without
 * memory for it there is no going on. */
void ds4_sha256(const void *data, size_t n_bytes, uint8_t out[DS4_SHA256_BYTES])
{
    if (EVP_Digest(data ? data : "", n_bytes, out, NULL, EVP_sha256(), NULL) != 1) __builtin_trap();
}

ds4_status ds4_sha256_begin(ds4_sha256_run **out, ds4_err *err)
{
    ds4_sha256_run *run = calloc(1, sizeof *run);

    if (run) run->ctx = EVP_MD_CTX_new();
    if (!run || !run->ctx || EVP_DigestInit_ex(run->ctx, EVP_sha256(), NULL) != 1) {
        if (run) EVP_MD_CTX_free(run->ctx);
        free(run);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for SHA-256");
    }
    *out = run;
    return DS4_OK;
}

void ds4_sha256_add(ds4_sha256_run *run, const void *data, size_t n_bytes)
{
    if (n_bytes > 0 && EVP_DigestUpdate(run->ctx, data, n_bytes) != 1) run->failed = true;
}

bool ds4_sha256_end(ds4_sha256_run *run, uint8_t out[DS4_SHA256_BYTES])
{
    if (!run) return false;
    const bool done = !run->failed && out && EVP_DigestFinal_ex(run->ctx, out, NULL) == 1;
    EVP_MD_CTX_free(run->ctx);
    free(run);
    return done;
}

void ds4_sha256_text(const uint8_t digest[DS4_SHA256_BYTES], char out[2 * DS4_SHA256_BYTES + 1])
{
    for (int i = 0; i < DS4_SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
