/* gguf_show.h - what a model file holds, as text on standard output: keys, types, tensors. */
#ifndef DS4_APP_GGUF_SHOW_H
#define DS4_APP_GGUF_SHOW_H

#include "format/gguf.h"

void ds4_gguf_show_keys(const ds4_gguf *g);
void ds4_gguf_show_types(const ds4_gguf *g);
void ds4_gguf_show_tensors(const ds4_gguf *g);

#endif
