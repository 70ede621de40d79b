/* metal_text.h - the kernels as Apple's compiler gets them: one text without includes or macros, made
 * from kernels.metal when the program is built. */
#ifndef DS4_BACKEND_METAL_TEXT_H
#define DS4_BACKEND_METAL_TEXT_H

#ifdef __cplusplus
extern "C" {
#endif

extern const char metal_text[];         /* ends with a zero */

#ifdef __cplusplus
}
#endif

#endif
