/* metal_text.cpp - the kernels once more, from the text that Apple's compiler gets (mk/metal.mk). */
#include METAL_TEXT_CPP

#include "emulator/kernel_table.h"

extern "C" const emulator_kernel *emulator_text_kernel_get(uint32_t i_kernel)
{
    return &table[i_kernel];
}
