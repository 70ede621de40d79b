# sources.mk - the sources of this build, found by their folders, and what is made of them.

ISA_x86_64  := src/kernels/x86
ISA_aarch64 := src/kernels/arm
LIB_DIRS  := src/base src/format src/kernels src/kernels/ref $(ISA_$(ARCH)) src/text \
             src/backend src/backend/cpu src/backend/gpu $(CUDA_DIR) \
             $(if $(filter yes,$(METAL)),$(METAL_DIR)) src/model src/engine src/service src/service/store src/agent
LIB_SRC   := $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c))
LIB_OBJ   := $(LIB_SRC:%.c=$(OUT)/%.o) $(METAL_OBJ)
LIB       := $(OUT)/libds4.a

COMMON_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard src/app/common/*.c))
APPS      := $(notdir $(patsubst %/main.c,%,$(wildcard src/app/*/main.c)))
prog       = $(if $(filter cli,$(1)),ds4,ds4-$(1))
PROGRAMS  := $(foreach a,$(APPS),$(OUT)/$(call prog,$(a)))

# Backends of this build, the preferred ones first.
BACKENDS  := cpu $(if $(filter yes,$(CUDA)),cuda) $(if $(filter yes,$(METAL)),metal)
$(OUT)/src/backend/backends.o: CPPFLAGS += '-DDS4_BACKENDS=$(foreach b,$(BACKENDS),X($(b)))'
