# SPDX-License-Identifier: Apache-2.0
#
# Apus: `make help` says what there is to do.
#
# The C libraries are the sources of Sources/Apus, Sources/ApusDPDK and Sources/ApusPolicy compiled as Embedded Swift:
# one call of swiftc each. Swift programs and tests are built by SwiftPM from the same sources.

SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# ---- what can be set ------------------------------------------------------------------------------------------

PREFIX ?= /usr/local
DESTDIR ?=
libdir ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
bindir ?= $(PREFIX)/bin
SWIFTC ?= swiftc
SWIFT ?= swift
CC := gcc
CXX := g++
# Baseline instruction set; AES-NI is always used on x86-64. See README "CPU".
APUS_MARCH ?= x86-64-v2
export APUS_MARCH

# ---- versions: from include/apus/version.h and nowhere else ------------------------------------------------------

version_part = $(shell sed -n 's/^.define APUS_VERSION_$(1) //p' include/apus/version.h)
MAJOR := $(call version_part,MAJOR)
MINOR := $(call version_part,MINOR)
PATCH := $(call version_part,PATCH)
VERSION := $(MAJOR).$(MINOR).$(PATCH)
# While MAJOR is 0 a new MINOR may change the ABI, so it is part of the soname.
ABI := $(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))

# ---- places ----------------------------------------------------------------------------------------------------

BUILD := build
LIB := $(BUILD)/lib
BIN := $(BUILD)/bin
OBJ := $(BUILD)/obj

headers := $(wildcard include/apus/*.h) include/module.modulemap
core_sources := $(shell find Sources/Apus -name '*.swift' | sort)
dpdk_sources := $(shell find Sources/ApusDPDK -name '*.swift' | sort)
policy_sources := $(shell find Sources/ApusPolicy -name '*.swift' | sort)
program_sources := $(shell find Sources/apus-forwarder Sources/apusctl -name '*.swift' | sort)

machine := $(shell uname -m)
march := $(if $(filter x86_64,$(machine)),-Xcc -march=$(APUS_MARCH) -Xcc -maes)
embedded := $(SWIFTC) -enable-experimental-feature Embedded -swift-version 6 -wmo -g -parse-as-library \
	-strict-memory-safety -Xfrontend -function-sections -Xcc -fPIC -Xcc -ffunction-sections $(march) -I include
dpdk_includes = -I Sources/CApusDPDK $(addprefix -Xcc ,$(filter -I% -include rte_config.h,$(shell pkg-config --cflags libdpdk)))
dpdk_libs := -lrte_ethdev -lrte_mbuf -lrte_mempool -lrte_ring -lrte_eal
# What String comparison needs of the standard library in Embedded Swift: an archive of the toolchain.
unicode = $(dir $(shell readlink -f "$$(command -v $(SWIFTC))"))../lib/swift/embedded/$(machine)-unknown-linux-gnu/libswiftUnicodeDataTables.a

# One segment for all that is only read: apart, code and constants fill up three pages more.
link_flags := -Wl,-z,noseparate-code -Wl,--gc-sections -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--build-id -Wl,--no-undefined

core_libs := $(LIB)/libapus.so.$(VERSION) $(LIB)/libapus.a
dpdk_out := $(LIB)/libapus_dpdk.so.$(VERSION) $(LIB)/libapus_dpdk.a
policy_out := $(LIB)/libapus_policy.so.$(VERSION)
pc_files := $(addprefix $(LIB)/pkgconfig/,apus.pc apus_dpdk.pc apus_policy.pc)
programs := $(addprefix $(BIN)/,apus-forwarder apus-forwarder-c apusctl)

# ---- goals -----------------------------------------------------------------------------------------------------

.PHONY: all lib programs install uninstall demo test bench bench-quick clean help deps check-map swiftc-is-there FORCE

all: deps lib programs ## Build the libraries and the programs (installs missing Debian packages when root)

help: ## Say this
	@echo "Apus $(VERSION). Goals:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "Set: PREFIX DESTDIR libdir includedir bindir APUS_MARCH (now $(APUS_MARCH)) SWIFT SWIFTC"
	@echo "Results: $(BIN)/ programs, $(LIB)/ libraries, include/ headers."

deps: ## Install the Debian packages that are missing, or say which
	@packaging/dependencies.sh

lib: $(core_libs) $(dpdk_out) $(policy_out) $(pc_files) ## Build the C libraries (Embedded Swift)

programs: $(programs) ## Build apus-forwarder, apus-forwarder-c and apusctl

demo: all ## Two tenants ping each other over NVGRE between two hosts made of namespaces
	@python3 Tests/EndToEnd/demo.py

test: all ## Run every test; about a quarter of an hour, the end-to-end part needs root
	@Tests/run.sh

bench: lib $(BIN)/apus-forwarder-c ## Measure everything: against the same work in C, and end to end over DPDK (Benchmarks/README.md)
	@status=0; Benchmarks/bench.py run || status=$$?; Benchmarks/bench.py dpdk || status=$$?; exit $$status

bench-quick: lib $(BIN)/apus-forwarder-c ## The most telling measurements, in less than two minutes
	@status=0; Benchmarks/bench.py run --quick || status=$$?; Benchmarks/bench.py dpdk --quick || status=$$?; exit $$status

clean: ## Remove everything that was built
	rm -rf $(BUILD) .build .build-*

# ---- the core ----------------------------------------------------------------------------------------------------
# Small, but for what packets pass through: that is marked `@_optimize(speed)`.

# What was built for another CPU is built again.
$(OBJ)/march: FORCE
	@mkdir -p $(@D)
	@echo '$(APUS_MARCH)' | cmp -s - $@ || echo '$(APUS_MARCH)' > $@
FORCE:

swiftc-is-there:
	@command -v $(firstword $(SWIFTC)) >/dev/null || { echo "$(firstword $(SWIFTC)) is not on the PATH: install Swift 6.3 from swift.org." >&2; exit 1; }

$(OBJ)/apus.o: $(core_sources) $(headers) Sources/CApusIntrinsics/apus_intrinsics.h $(OBJ)/march | swiftc-is-there
	@mkdir -p $(@D)
	@echo "  SWIFT   libapus ($(words $(core_sources)) files, Embedded)"
	@$(embedded) -Osize -module-name Apus -I Sources/CApusIntrinsics -c $(core_sources) -o $@

$(OBJ)/apus_dpdk.o: $(dpdk_sources) $(headers) Sources/CApusDPDK/shim.h $(OBJ)/march | swiftc-is-there
	@mkdir -p $(@D)
	@echo "  SWIFT   libapus_dpdk ($(words $(dpdk_sources)) files, Embedded)"
	@$(embedded) -O -module-name ApusDPDK -I Sources/CApusIntrinsics $(dpdk_includes) -c $(dpdk_sources) -o $@

$(OBJ)/apus_policy.o: $(policy_sources) $(headers) Sources/CLibYAML/shim.h $(OBJ)/march | swiftc-is-there
	@mkdir -p $(@D)
	@echo "  SWIFT   libapus_policy ($(words $(policy_sources)) files, Embedded)"
	@$(embedded) -Osize -module-name ApusPolicy -I Sources/CLibYAML -c $(policy_sources) -o $@

# link(library, inputs and libraries)
define link
	@mkdir -p $(LIB)
	@packaging/check-map.sh packaging/$(1).map $(headers)
	@echo "  LINK    $(@F)"
	@$(CC) -shared -o $(OBJ)/$(@F) $(2) -Wl,-soname,lib$(1).so.$(ABI) -Wl,--version-script=packaging/$(1).map $(link_flags)
	@objcopy --only-keep-debug $(OBJ)/$(@F) $@.debug
	@objcopy --strip-all --add-gnu-debuglink=$@.debug $(OBJ)/$(@F) $@
	@ln -sf $(@F) $(LIB)/lib$(1).so.$(ABI) && ln -sf lib$(1).so.$(ABI) $(LIB)/lib$(1).so
endef

# A plain archive of Embedded Swift would bring weak copies of swift_retain() and its kin into a Swift program, where
# they replace the real ones. One object in which only the C functions are global cannot.
define archive
	@mkdir -p $(LIB)
	@echo "  AR      $(@F)"
	@ld -r --gc-sections $(addprefix -u ,$(shell packaging/map-symbols.sh packaging/$(1).map)) -o $(OBJ)/$(1)_all.o $(OBJ)/$(1).o
	@packaging/map-symbols.sh packaging/$(1).map > $(OBJ)/$(1).symbols
	@objcopy --keep-global-symbols=$(OBJ)/$(1).symbols $(OBJ)/$(1)_all.o $(OBJ)/$(1)_local.o
	@rm -f $@ && ar rcs $@ $(OBJ)/$(1)_local.o
endef

$(LIB)/libapus.so.$(VERSION): $(OBJ)/apus.o packaging/apus.map packaging/check-map.sh
	$(call link,apus,$(OBJ)/apus.o)

$(LIB)/libapus.a: $(OBJ)/apus.o packaging/apus.map
	$(call archive,apus)

$(LIB)/libapus_dpdk.so.$(VERSION): $(OBJ)/apus_dpdk.o $(LIB)/libapus.so.$(VERSION) packaging/apus_dpdk.map
	$(call link,apus_dpdk,$(OBJ)/apus_dpdk.o -L$(LIB) -lapus $(beside) -Wl$(comma)--as-needed $(dpdk_libs))

$(LIB)/libapus_dpdk.a: $(OBJ)/apus_dpdk.o packaging/apus_dpdk.map
	$(call archive,apus_dpdk)

$(LIB)/libapus_policy.so.$(VERSION): $(OBJ)/apus_policy.o $(LIB)/libapus.so.$(VERSION) packaging/apus_policy.map
	$(call link,apus_policy,$(OBJ)/apus_policy.o $(unicode) -L$(LIB) -lapus -lyaml -lm $(beside))

comma := ,
# Our libraries find each other where they lie.
beside := -Wl,-rpath,'$$ORIGIN'

# ---- programs ----------------------------------------------------------------------------------------------------

$(BIN)/apus-forwarder $(BIN)/apusctl &: $(program_sources) $(core_sources) $(dpdk_sources) $(policy_sources) $(headers) Package.swift $(OBJ)/march
	@mkdir -p $(BIN)
	@echo "  SWIFTPM apus-forwarder, apusctl"
	@$(SWIFT) build -c release --product apus-forwarder
	@$(SWIFT) build -c release --product apusctl
	@cp -f .build/release/apus-forwarder .build/release/apusctl $(BIN)/

$(BIN)/apus-forwarder-c: Sources/apus-forwarder-c/main.c $(core_libs) $(dpdk_out) $(policy_out)
	@mkdir -p $(BIN)
	@echo "  CC      $(@F)"
	@$(CC) -std=gnu11 -O2 -g -Wall -Wextra -Werror -Iinclude $$(pkg-config --cflags libdpdk) -o $@ $< \
		-L$(LIB) -lapus -lapus_dpdk -lapus_policy $(dpdk_libs) -Wl,-rpath,'$$ORIGIN/../lib'

# ---- installation --------------------------------------------------------------------------------------------------

$(LIB)/pkgconfig/%.pc: packaging/%.pc.in include/apus/version.h Makefile
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(libdir)|; s|@INCLUDEDIR@|$(includedir)|; s|@VERSION@|$(VERSION)|' $< > $@

install: lib ## Install libraries, headers, pkg-config and CMake files, and programs if built (PREFIX, DESTDIR)
	@case '$(PREFIX)' in /*' '*|[!/]*) echo "PREFIX=$(PREFIX): must be an absolute path without spaces" >&2; exit 1;; esac
	install -d $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(libdir)/cmake/apus $(DESTDIR)$(includedir)/apus
	install -m 644 include/apus/*.h $(DESTDIR)$(includedir)/apus/
	install -m 644 packaging/module.modulemap $(DESTDIR)$(includedir)/apus/
	for l in apus apus_dpdk apus_policy; do \
		install -m 755 $(LIB)/lib$$l.so.$(VERSION) $(DESTDIR)$(libdir)/; \
		ln -sf lib$$l.so.$(VERSION) $(DESTDIR)$(libdir)/lib$$l.so.$(ABI); \
		ln -sf lib$$l.so.$(ABI) $(DESTDIR)$(libdir)/lib$$l.so; \
	done
	install -m 644 $(LIB)/libapus.a $(LIB)/libapus_dpdk.a $(DESTDIR)$(libdir)/
	for p in apus apus_dpdk apus_policy; do \
		sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(libdir)|; s|@INCLUDEDIR@|$(includedir)|; s|@VERSION@|$(VERSION)|' \
			packaging/$$p.pc.in > $(DESTDIR)$(libdir)/pkgconfig/$$p.pc; \
	done
	sed -e 's|@VERSION@|$(VERSION)|; s|@ABI@|$(ABI)|; s|@INCLUDEDIR_FROM_LIBDIR@|$(shell realpath -m --relative-to=$(libdir) $(includedir))|' packaging/apus-config.cmake.in > $(DESTDIR)$(libdir)/cmake/apus/apus-config.cmake
	sed -e 's|@VERSION@|$(VERSION)|' packaging/apus-config-version.cmake.in > $(DESTDIR)$(libdir)/cmake/apus/apus-config-version.cmake
	install -d $(DESTDIR)$(PREFIX)/share/doc/apus/docs $(DESTDIR)$(PREFIX)/share/doc/apus/examples
	install -m 644 README.md CHANGELOG.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/apus/
	install -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/apus/docs/
	install -m 644 Tests/EndToEnd/policies/*.yaml $(DESTDIR)$(PREFIX)/share/doc/apus/examples/
	install -d $(DESTDIR)$(bindir)
	for p in $(programs); do if [ -x $$p ]; then install -m 755 $$p $(DESTDIR)$(bindir)/; fi; done

uninstall: ## Remove what install installed
	rm -rf $(DESTDIR)$(includedir)/apus $(DESTDIR)$(libdir)/cmake/apus
	rm -f $(DESTDIR)$(libdir)/libapus.* $(DESTDIR)$(libdir)/libapus_dpdk.* $(DESTDIR)$(libdir)/libapus_policy.*
	rm -f $(addprefix $(DESTDIR)$(libdir)/pkgconfig/,apus.pc apus_dpdk.pc apus_policy.pc) $(addprefix $(DESTDIR)$(bindir)/,$(notdir $(programs)))
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/apus
