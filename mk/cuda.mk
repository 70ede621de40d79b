# cuda.mk - the CUDA backend: where the toolkit is, and the kernels as one file of machine code.

# The CUDA backend is built where NVIDIA's compiler and header are. The driver is looked for when the program
# runs. The compiler says where its toolkit lies, since the one in PATH may be a script that calls another.
NVCC      ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_TOP  := $(if $(NVCC),$(shell $(NVCC) --dryrun -E -x cu /dev/null 2>&1 | sed -n 's/^.. TOP=//p'))
CUDA_HEADERS ?= $(patsubst %/cuda.h,%,$(firstword $(wildcard $(CUDA_TOP:%=%/include/cuda.h) \
             $(CUDA_TOP:%=%/targets/*/include/cuda.h) /usr/include/cuda.h)))
CUDA      ?= $(if $(CUDA_HEADERS),$(if $(filter $(ARCH),$(subst arm64,aarch64,$(shell uname -m))),yes))
# As many of these chips as the toolkit knows, and PTX of the newest for later ones.
CUDA_ARCH ?= sm_80 sm_90a sm_100 sm_120
CUDA_DIR  := $(if $(filter yes,$(CUDA)),src/backend/gpu/cuda)

# Kernels for NVIDIA's GPUs: one file of machine code for all chips, embedded by cuda_image.c. It does not
# depend on the C compiler or its options, so that every build of this tree shares it.
ifeq ($(CUDA),yes)
comma       := ,
CUDA_IMAGE  := build/cuda/kernels.fatbin
CUDA_KNOWN  := $(shell $(NVCC) --list-gpu-code 2>/dev/null)
# nvcc does not list the variants with instructions of one chip alone: sm_90a is known where sm_90 is.
CUDA_CHIPS  := $(foreach a,$(CUDA_ARCH),$(if $(filter $(a:a=),$(CUDA_KNOWN)),$(a)))
CUDA_NEWEST := $(patsubst sm_%,compute_%,$(lastword $(filter-out %a,$(CUDA_CHIPS))))
CUDA_CODE   := $(foreach a,$(CUDA_CHIPS),-gencode=arch=$(a:sm_%=compute_%),code=$(a)) \
               $(patsubst %,-gencode=arch=%$(comma)code=$(CUDA_NEWEST),$(CUDA_NEWEST))
NVCCFLAGS   += -std=c++17 -O3 -fmad=false -Isrc
$(CUDA_IMAGE): src/backend/gpu/cuda/kernels.cu $(wildcard src/backend/gpu/kernels/* src/backend/gpu/cuda/own_*) \
               src/backend/gpu/args.h src/backend/gpu/kernel_list.h src/format/iq2xxs_codes_table.h
	@mkdir -p $(@D)
	$(call say,NVCC,$@)
	$(Q)$(NVCC) $(NVCCFLAGS) $(CUDA_CODE) -fatbin -o $@.part.$(notdir $(OUT)) $< && mv $@.part.$(notdir $(OUT)) $@
$(OUT)/$(CUDA_DIR)/%.o: CPPFLAGS += -isystem $(CUDA_HEADERS)
$(OUT)/$(CUDA_DIR)/cuda_image.o: CPPFLAGS += -DCUDA_IMAGE_FILE='"$(CUDA_IMAGE)"'
$(OUT)/$(CUDA_DIR)/cuda_image.o: $(CUDA_IMAGE)
CPPFLAGS    += -DDS4_HAVE_CUDA
LDLIBS      += -ldl
endif
