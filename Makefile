# SPDX-License-Identifier: Apache-2.0
# Stop-gap: `make lib` of the core.
SWIFTC ?= swiftc
APUS_MARCH ?= x86-64-v2
CORE := $(shell find Sources/Apus -name '*.swift')
lib: build/lib/libapus.so
build/lib/libapus.so: $(CORE) $(wildcard include/apus/*.h) Sources/CApusIntrinsics/apus_intrinsics.h
	@mkdir -p build/lib build/obj
	$(SWIFTC) -enable-experimental-feature Embedded -wmo -O -parse-as-library -strict-memory-safety -module-name Apus \
	  -I include -I Sources/CApusIntrinsics -Xcc -march=$(APUS_MARCH) -Xcc -maes -Xcc -fPIC -Xfrontend -function-sections \
	  -c $(CORE) -o build/obj/apus.o
	(echo "APUS_0.1 { global:"; grep -hoE '\bapus_[a-z0-9_]+\(' include/apus/{version,error,address,dataplane,port,policy,provider,worker,stats}.h | tr -d '(' | sort -u | sed 's/$$/;/'; echo "local: *; };") > build/obj/apus.map
	gcc -shared -o build/lib/libapus.so.0.1.0 build/obj/apus.o -Wl,--version-script=build/obj/apus.map -Wl,-soname,libapus.so.0.1 -Wl,--gc-sections -Wl,-z,defs
	ln -sf libapus.so.0.1.0 build/lib/libapus.so.0.1; ln -sf libapus.so.0.1 build/lib/libapus.so
SHELL := /bin/bash
