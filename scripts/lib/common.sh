# shellcheck shell=bash
# What the scripts share. Source it; it needs ROOT, the checkout.

# Runs a command so that a signal to this script reaches the command at once,
# and waits until it has ended. Returns its exit code.
saathii_run() {
  local pid code=0
  "$@" <&0 &
  pid=$!
  # shellcheck disable=SC2064  # this process, whatever `pid` is later
  trap "kill -TERM $pid 2>/dev/null; saathii_interrupted=yes" INT TERM HUP
  while :; do
    code=0
    wait "$pid" || code=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  trap 'exit 130' INT TERM HUP
  return "$code"
}
saathii_interrupted=no

# Words before ninja and ctest, such as "setarch -R". Building runs the
# test programs too, to list their cases.
saathii_around=()

# Names a folder outside of the checkout for what is kept between runs.
saathii_cache() {
  local home=${HOME:-}
  if [[ -n ${XDG_CACHE_HOME:-} ]]; then
    printf '%s' "$XDG_CACHE_HOME/saathiid"
  elif [[ -n $home && -w $home ]]; then
    printf '%s' "$home/.cache/saathiid"
  else
    printf '%s' "/var/tmp/saathiid-$UID"
  fi
}

saathii_use_ccache() {
  export CCACHE_DIR=${CCACHE_DIR:-$(saathii_cache)/ccache}
  # So that a checkout in another place finds what this one compiled.
  export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
  mkdir -p "$CCACHE_DIR"
}

# Configures and builds a preset: saathii_build PRESET [TARGET...]
saathii_build() {
  local preset=$1 log
  shift
  log=$ROOT/build/$preset.log
  mkdir -p "$ROOT/build"
  saathii_use_ccache
  echo "Building $preset ..."
  if ! saathii_run cmake -S "$ROOT" --preset "$preset" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
  # ninja itself, because it ends its compilers when it is told to end.
  local -a build=("${saathii_around[@]}" ninja -C "$ROOT/build/$preset" -j "$(nproc)" "$@")
  # A person sees how far it is; elsewhere only what went wrong is worth a line.
  if [[ -t 1 ]]; then
    saathii_run "${build[@]}"
  elif ! saathii_run "${build[@]}" >>"$log" 2>&1; then
    if [[ $saathii_interrupted == no ]]; then tail -n 60 "$log" >&2; fi
    return 1
  fi
}
