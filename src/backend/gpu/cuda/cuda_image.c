/* cuda_image.c - the compiled kernels as bytes of the program. The Makefile names the file. */
#include "backend/gpu/cuda/cuda_driver.h"

__asm__(".section .rodata\n"
        ".balign 16\n"
        ".globl cuda_image\n"
        "cuda_image:\n"
        ".incbin \"" CUDA_IMAGE_FILE "\"\n"
        ".byte 0\n"
        ".previous\n");
