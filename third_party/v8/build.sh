#!/bin/bash
# Rebuilds V8's static library for the `v8` crate from the source inside the crate.
#
#   build.sh [FOLDER]        into FOLDER, by default the one of this script
#
# Debian 12, as root. 40 minutes on two cores, 4 GiB of memory, 6 GB of disk. Downloads Debian packages and the crate,
# nothing else. ISOBENCH_V8_BUILD names the working folder; a second run goes on where the first one ended.
set -euo pipefail

crate=152.2.0
clang=22
triple=x86_64-unknown-linux-gnu

here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "${1:-$here}" && cd "${1:-$here}" && pwd)
work=${ISOBENCH_V8_BUILD:-/var/tmp/isobench-v8-$crate}
llvm=/usr/lib/llvm-$clang
source=$work/source
target=$source/out/release

say() { printf '\n== %s\n' "$*"; }

install_tools() {
  say "packages"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends \
    clang-$clang lld-$clang llvm-$clang libclang-rt-$clang-dev ninja-build ccache pigz python3 >/dev/null
}

# Cargo unpacks a crate's source as a side effect of fetching it: an empty package that depends on it is enough.
unpack_source() {
  [ -d "$source" ] && return
  say "the crate's source"
  mkdir -p "$work/empty/src"
  : >"$work/empty/src/lib.rs"
  cat >"$work/empty/Cargo.toml" <<TOML
[package]
name = "empty"
version = "0.0.0"
edition = "2021"
[dependencies]
v8 = "=$crate"
[workspace]
TOML
  (cd "$work/empty" && cargo fetch -q)
  cp -a "$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "v8-$crate" -print -quit)" "$source.part"
  # gn wants ICU's data where upstream's checkout has it; the crate ships one copy, meant for Flutter.
  mkdir -p "$source.part/third_party/icu/common"
  cp "$source.part/third_party/icu/flutter_desktop/icudtl.dat" "$source.part/third_party/icu/common/"
  mv "$source.part" "$source"
}

# The generator of the build files. Debian 12's is older than this V8 can bear; the one of Debian's development branch
# is linked against a newer C library, so it is unpacked beside its own and started by that library's loader.
unpack_gn() {
  gn=$work/gn/run
  [ -x "$gn" ] && return
  say "gn"
  local root=$work/gn/root state=$work/gn/apt mirror
  mkdir -p "$root" "$state/lists/partial" "$state/cache/archives/partial"
  # The mirror that this machine uses already.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$')
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$state/sources.list"
  local apt=(apt-get -qq
    -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$state" && "${apt[@]}" download generate-ninja libc6 libstdc++6 libgcc-s1)
  for package in "$state"/*.deb; do dpkg-deb -x "$package" "$root"; done
  local lib=$root/usr/lib/x86_64-linux-gnu
  cat >"$gn" <<SH
#!/bin/bash
exec $lib/ld-linux-x86-64.so.2 --library-path $lib $root/usr/bin/gn "\$@"
SH
  chmod +x "$gn"
}

# A toolchain folder laid out as Chromium's build expects it. The compilers in it are wrappers that
# - leave out three flags which only Chromium's own clang knows;
# - compile what only the snapshot generator runs without optimisation: it runs once;
# - use a precompiled header where one fits (parsing V8's headers is two thirds of all work) and do without where the
#   file does not compile with it.
make_toolchain() {
  say "toolchain"
  local bin=$work/toolchain/bin
  mkdir -p "$bin" "$work/pch"
  ln -sfn $llvm/lib "$work/toolchain/lib"
  for tool in $llvm/bin/*; do ln -sf "$tool" "$bin/"; done
  rm -f "$bin/clang" "$bin/clang++"
  # Chromium names the compiler's runtime by its target, Debian by its system.
  local runtime=$llvm/lib/clang/$clang/lib
  mkdir -p "$runtime/$triple"
  ln -sf ../linux/libclang_rt.builtins-x86_64.a "$runtime/$triple/libclang_rt.builtins.a"

  cat >"$bin/clang++" <<SH
#!/bin/bash
args=() plain=() header=
for arg; do
  case \$arg in
    -fdiagnostics-show-inlining-chain | -fno-lifetime-dse | -fsanitize-ignore-for-ubsan-feature=*) continue ;;
    obj/v8/torque_generated_initializers/*.o | obj/v8/v8_initializers/*.o) header=builtins ;;
    obj/v8/v8_base_without_compiler/*.o | obj/v8/torque_generated_definitions/*.o | obj/v8/mksnapshot/*.o) header=base ;;
    obj/v8/v8_compiler/*.o) header=compiler ;;
  esac
  args+=("\$arg")
done
# The flag given last wins, so -O0 goes behind those of the build.
[ "\$header" = builtins ] && args+=(-O0)
if [ -n "\$header" ] && [ -e $work/pch/\$header.pch ]; then
  for arg in "\${args[@]}"; do [[ \$arg == -fmodule-name=* ]] || plain+=("\$arg"); done
  $llvm/bin/clang++ "\${plain[@]}" -w -include-pch $work/pch/\$header.pch 2>/dev/null && exit
fi
exec ccache $llvm/bin/clang++ -w "\${args[@]}"
SH
  cat >"$bin/clang" <<SH
#!/bin/bash
args=()
for arg; do
  case \$arg in
    -fdiagnostics-show-inlining-chain | -fno-lifetime-dse | -fsanitize-ignore-for-ubsan-feature=*) ;;
    *) args+=("\$arg") ;;
  esac
done
exec ccache $llvm/bin/clang -w "\${args[@]}"
SH
  chmod +x "$bin/clang" "$bin/clang++"
}

# The crate's own settings, less what is written in Rust (Temporal) and would need a nightly toolchain.
configure() {
  say "configure"
  mkdir -p "$target"
  cat >"$target/args.gn" <<GN
is_debug = false
symbol_level = 0
use_custom_libcxx = true
v8_monolithic_for_shared_library = true
v8_enable_pointer_compression = false
v8_enable_sandbox = false
v8_enable_v8_checks = false
v8_enable_temporal_support = false
enable_rust = false
enable_rust_cxx = false
use_glib = false
treat_warnings_as_errors = false
clang_base_path = "$work/toolchain"
clang_version = "$clang"
GN
  (cd "$source" && "$gn" gen out/release)
}

includes() { printf '#include "%s"\n' "$@"; }

# Three headers, precompiled with exactly the flags of V8's own files.
precompile() {
  say "precompiled headers"
  cd "$target"
  # Building one file generates the headers that the three include.
  local probe=obj/v8/v8_base_without_compiler/debug.o flags pch=$work/pch
  ninja -k 0 $probe
  flags=$(ninja -t commands $probe | tail -n 1 | python3 -c '
import shlex, sys
words = iter(shlex.split(sys.stdin.read()))
kept = []
for word in words:
    if word in ("-o", "-MF", "-c"):
        next(words)
    elif not word.startswith(("-MD", "-MMD", "-fmodule-name")):
        kept.append(word)
print(shlex.join(kept))')

  includes algorithm functional iomanip map memory optional sstream string unordered_map unordered_set vector \
    src/{api/api,codegen/macro-assembler,execution/arguments,execution/frames,execution/isolate}-inl.h \
    src/{handles/handles,heap/factory,heap/heap}-inl.h \
    src/objects/{code,contexts,dictionary,feedback-vector,hash-table,js-array,js-function,js-objects}-inl.h \
    src/objects/{lookup,objects,shared-function-info,transitions}-inl.h \
    src/{ast/ast,codegen/compiler,interpreter/bytecode-array-builder,parsing/parse-info}.h >"$pch/base.h"
  includes "$pch/base.h" src/compiler/{access-builder,graph-assembler,js-graph,node-matchers,node-properties}.h \
    src/compiler/{js-heap-broker,pipeline-data}-inl.h \
    src/compiler/turboshaft/{assembler,copying-phase,phase}.h src/maglev/maglev-ir.h >"$pch/compiler.h"
  {
    includes "$pch/base.h"
    grep -h '^#include "src/' gen/v8/torque-generated/src/builtins/array-join-tq-csa.cc | sort -u
    includes src/builtins/builtins-utils-gen.h src/ic/accessor-assembler.h src/interpreter/interpreter-assembler.h
  } >"$pch/builtins.h"

  local name level
  for name in base compiler builtins; do
    level=
    [ $name = builtins ] && level=-O0
    # Without its header a group of files compiles slower, not worse.
    bash -c "$flags $level -w -fpch-instantiate-templates -x c++-header $pch/$name.h -o $pch/$name.pch" ||
      rm -f "$pch/$name.pch"
  done
}

# In the names that the crate's build script looks for.
hand_over() {
  say "hand over to $out"
  local library=librusty_v8_release_$triple.a bindings=src_binding_release_$triple.rs
  $llvm/bin/llvm-strip --strip-unneeded -o "$out/$library" "$target/obj/librusty_v8.a"
  pigz -9 -n -f "$out/$library"
  cp "$source/gen/$bindings" "$out/$bindings"
  chmod 644 "$out/$bindings"
  cd "$out"
  sha256sum "$library.gz" "$bindings" >SHA256SUMS
  ls -l "$library.gz" "$bindings"
}

install_tools
unpack_source
unpack_gn
make_toolchain
configure
precompile
say "build"
ninja -C "$target" rusty_v8
hand_over
