# toolchain.mk - the compiler, its options, and the flags of the libraries that are used.

CC        ?= cc
ifeq ($(origin CC),default)
CC        := cc
endif
UNAME     := $(shell uname -s)
ARCH      ?= $(shell $(CC) -dumpmachine 2>/dev/null | sed 's/-.*//; s/arm64/aarch64/')
PKG       ?= pkg-config
ifeq ($(UNAME),Darwin)
# Homebrew may keep OpenSSL beside its other libraries, because macOS has another one.
BREW_SSL  := $(firstword $(wildcard /opt/homebrew/opt/openssl@3/lib/pkgconfig /usr/local/opt/openssl@3/lib/pkgconfig))
PKG       := $(if $(BREW_SSL),env PKG_CONFIG_PATH="$(BREW_SSL):$$PKG_CONFIG_PATH" )$(PKG)
endif

# Warnings stop the developers' builds (make check), never a user's with a newer compiler.
WARN      := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
WARN      += $(if $(WERROR),-Werror)
# No contraction: a product and a sum are two roundings unless the kernel asks for one,
# so that compilers agree with each other.
CFLAGS    += -std=c11 $(OPT) -g $(WARN) -ffp-contract=off -fno-math-errno
CPPFLAGS  += -D_GNU_SOURCE -Isrc -Iinclude -Itests
LDLIBS    += -lm -lpthread
# Against what a fault in a parser could become. Sanitizers bring checks of their own.
HARDEN    ?= $(if $(SAN),,1)
ifneq ($(HARDEN),)
CFLAGS    += -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
ifeq ($(UNAME),Linux)
LDFLAGS   += -pie -Wl,-z,relro,-z,now
endif
endif
ifneq ($(SAN),)
CFLAGS    += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS   += -fsanitize=$(SAN)
endif

# Flags of packages, asked for once. Only the files that see a library need its flags.
pkg        = $(shell $(PKG) $(1) $(2) 2>/dev/null)
LIB_PKGS  := jansson libcrypto libpcre2-8
# The KV store's index and checksums; a system may have SQLite without a package file.
KV_LIBS   := $(or $(call pkg,--libs,sqlite3),-lsqlite3) $(or $(call pkg,--libs,libxxhash),-lxxhash)
PKG_LIBS  := $(call pkg,--libs,$(LIB_PKGS)) $(KV_LIBS)
PKG_FLAGS := $(call pkg,--cflags,$(LIB_PKGS)) $(call pkg,--cflags,sqlite3) $(call pkg,--cflags,libxxhash) \
             $(call pkg,--cflags,cmocka)
EDIT_LIBS := $(or $(call pkg,--libs,libedit),-ledit)
# Widths of characters, for the agent's terminal.
WIDTH_LIBS := $(or $(call pkg,--libs,libutf8proc),-lutf8proc)
$(OUT)/src/app/agent/ui_width.o: CPPFLAGS += $(call pkg,--cflags,libutf8proc)
TEST_LIBS := $(call pkg,--libs,cmocka)
# Used where this compiler can link it, so that a cross build does not take the host's.
URING_TRY := \#include <liburing.h>\nint main(void) { struct io_uring r; return io_uring_queue_init(1, &r, 0); }\n
URING     := $(shell printf '$(URING_TRY)' | $(CC) -x c - -luring -o /dev/null 2>/dev/null && echo -luring)
LDLIBS    += $(URING)
CPPFLAGS  += $(if $(URING),-DDS4_HAVE_URING)
# The same for servers of tools at an address, which the agent can use.
CURL_FLAGS := $(call pkg,--cflags,libcurl)
CURL_TRY  := \#include <curl/curl.h>\nint main(void) { return curl_easy_init() == 0; }\n
CURL_LIBS := $(or $(call pkg,--libs,libcurl),-lcurl)
CURL      := $(shell printf '$(CURL_TRY)' | $(CC) $(CURL_FLAGS) -x c - $(CURL_LIBS) -o /dev/null 2>/dev/null && echo yes)
LDLIBS    += $(if $(CURL),$(CURL_LIBS))
$(OUT)/src/agent/mcp_http.o: CPPFLAGS += $(if $(CURL),-DDS4_HAVE_CURL $(CURL_FLAGS))
LDLIBS    += $(PKG_LIBS)
CPPFLAGS  += $(PKG_FLAGS)

# Options of the instruction sets: a file's suffix chooses them.
AVX2      := -mavx2 -mfma -mf16c -mbmi2 -mpopcnt
AVX512    := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
VBMI      := $(AVX512) -mavx512vbmi -mgfni
$(OUT)/%_avx2.o:   CFLAGS += $(AVX2)
$(OUT)/%_avx512.o: CFLAGS += $(AVX512)
$(OUT)/%_vbmi.o:   CFLAGS += $(VBMI)
$(OUT)/%_amx.o:    CFLAGS += $(VBMI)
$(OUT)/%_neon.o:   CFLAGS += -march=armv8.2-a+dotprod+fp16
