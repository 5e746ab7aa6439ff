# Sourced by the scripts beside it.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A torch unit takes 1.5 GB to compile.
jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}

# configure <preset> [arguments of cmake ...]: quiet unless it fails.
configure() {
  local preset=$1 log=build/configure-$1.log
  shift
  cmake --preset "$preset" ${Torch_DIR:+-D Torch_DIR="$Torch_DIR"} "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    return 1
  }
}

# build <preset> [targets ...]
build() {
  local preset=$1
  shift
  cmake --build "build/$preset" -j "$(jobs)" ${1:+--target "$@"} >&2
}
