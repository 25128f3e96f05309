# shellcheck shell=bash
# shellcheck disable=SC2154  # saathii_interrupted is in common.sh
# Other Debian releases in folders, to build and to boot saathiid in. Source it
# after common.sh, then call, as root:
#
#   saathii_roots_possible            prints why not, and fails, where it cannot be
#   saathii_root SUITE USE PACKAGE... sets saathii_root_dir, or fails and says why
#   saathii_in_root DIR OPTION... -- COMMAND...
#   saathii_in_build_root SUITE VERSION WORK COMMAND
#
# A root is made by debootstrap from the mirror that the host's own apt uses, and
# kept below $(saathii_cache)/roots: the first time takes minutes, later ones
# nothing. Other packages are another root; the one before goes away when nobody
# has asked for it for a week. One whose making was cut off has no stamp, which is
# written last, and is made anew. USE only tells roots of one suite apart.
#
# Every root is pristine and stays so, because others may use it at the same time.
# saathii_in_root runs a command in it read-only and without a network. To boot
# it, boot a copy and throw that away:
#
#   saathii_root bookworm boot systemd systemd-sysv dbus redis-server ...
#   saathii_run cp -a --reflink=auto "$saathii_root_dir" "$work/boot"
#   saathii_run setpriv --pdeathsig TERM systemd-nspawn --quiet -D "$work/boot" \
#     --machine=... --register=no --keep-unit --boot ...
#
# A booted one takes SIGTERM for the wish to shut down, and a second one at once for
# the order to.
#
# No service was started when it was made, but what packages do at installation is
# done: accounts, enabled units, PostgreSQL's cluster "main". There is no host name,
# and /etc/machine-id is empty: each copy gets its own. There are empty folders /src
# and /cache to bind on.
#
# Nothing is left behind when the caller is interrupted or killed: debootstrap's
# mounts and processes are in namespaces that end with it, nspawn puts away its own
# on SIGTERM, and both get a signal when the process that started them is gone.
# That needs the command itself behind saathii_run, not a function around it.

# The mirror from which the host has its own Debian release.
saathii_mirror() {
  local codename
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  apt-get indextargets --format "\$(ORIGIN) \$(CODENAME) \$(COMPONENT) \$(REPO_URI)" \
    'Created-By: Packages' 2>/dev/null |
    awk -v codename="$codename" '
      $1 == "Debian" && $2 == codename && $3 == "main" && $4 ~ /^https?:/ && !found {
        print $4; found = 1
      }'
}

# saathii_nspawn DIR OPTION... -- COMMAND...: what every use has in common.
saathii_nspawn() {
  local dir=$1 machine=saathii-$BASHPID code=0
  shift
  saathii_run setpriv --pdeathsig TERM systemd-nspawn --quiet --directory="$dir" \
    --machine="$machine" --register=no --keep-unit --as-pid2 --pipe \
    --timezone=off --link-journal=no "$@" || code=$?
  # Where /run is on a disk, nspawn does not dare to remove what it made there.
  rmdir "/run/systemd/nspawn/propagate/$machine" 2>/dev/null || true
  return "$code"
}

saathii_in_root() {
  local dir=$1
  shift
  saathii_nspawn "$dir" --read-only --private-network --resolv-conf=off "$@"
}

saathii_roots_possible() {
  local tool said
  if ((EUID != 0)); then
    echo "only root can make a container"
    return 1
  fi
  for tool in debootstrap systemd-nspawn unshare setpriv flock; do
    if ! command -v "$tool" >/dev/null; then
      echo "there is no $tool here"
      return 1
    fi
  done
  if ! said=$(saathii_nspawn / --volatile=yes --private-network -- /bin/true 2>&1); then
    echo "systemd-nspawn does not work here: ${said%%$'\n'*}"
    return 1
  fi
  if [[ -z $(saathii_mirror) ]]; then
    echo "apt names no mirror of Debian (apt-get update may help)"
    return 1
  fi
}

# debootstrap mounts things: in namespaces, which are gone when it is. unshare
# blocks SIGTERM, so a shell takes it, and unshare is killed when that is gone.
saathii_debootstrap() {
  saathii_run setpriv --pdeathsig TERM bash -c '
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc -- \
      debootstrap "$@" &
    wait "$!"' saathii "$@"
}

# Runs inside the new root.
saathii_fill_root='
  set -e
  export DEBIAN_FRONTEND=noninteractive
  printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  apt() { apt-get -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io "$@" </dev/null; }
  apt update
  apt install -y --no-install-recommends "$@"
  apt-get clean
  rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /etc/hostname /etc/resolv.conf
  mkdir -p /src /cache
  : >/etc/machine-id'

# saathii_make_root DIR SUITE PACKAGE...: says on stderr what went wrong.
saathii_make_root() {
  local dir=$1 suite=$2 mirror proxy=${http_proxy:-}
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  shift 2
  mirror=$(saathii_mirror)
  if [[ -z $proxy ]]; then eval "$(apt-config shell proxy Acquire::http::Proxy)"; fi
  # Mounts of a machine that crashed meanwhile are not followed.
  rm -rf --one-file-system "$dir"
  mkdir -p "$dir"
  local -a options=(--variant=minbase --include=ca-certificates)
  if [[ -r $keys ]]; then options+=("--keyring=$keys"); fi
  if ! http_proxy=$proxy saathii_debootstrap "${options[@]}" "$suite" "$dir/root" "$mirror" \
    >"$dir/log" 2>&1; then
    if [[ $saathii_interrupted == no ]]; then
      echo "debootstrap of $suite failed:" >&2
      tail -n 20 "$dir/log" >&2
    fi
    return 1
  fi
  if ! saathii_nspawn "$dir/root" --resolv-conf=copy-host --setenv=http_proxy="$proxy" -- \
    /bin/bash -c "$saathii_fill_root" saathii "$@" >"$dir/log" 2>&1; then
    if [[ $saathii_interrupted == no ]]; then
      echo "Installing packages in a root of $suite failed:" >&2
      tail -n 20 "$dir/log" >&2
    fi
    return 1
  fi
  sync -f "$dir"
  : >"$dir/stamp"
}

# After a failure ask saathii_interrupted first.
saathii_root() {
  local suite=$1 use=$2 roots name hash lock old
  shift 2
  saathii_root_dir=
  roots=$(saathii_cache)/roots
  # What a root is made of: how, and of which packages.
  hash=$(printf '%s\n' "$saathii_fill_root" "$(printf '%s\n' "$@" | sort -u)" |
    sha256sum | head -c 12)
  name=$suite-$use-$hash
  mkdir -p "$roots"
  # Two at once: the second waits and finds what the first has made.
  exec {lock}>"$roots/$name.lock"
  if ! saathii_run flock "$lock"; then
    exec {lock}>&-
    return 1
  fi
  if [[ ! -e $roots/$name/stamp ]]; then
    echo "Making a root of $suite (to $use) ..."
    if ! saathii_make_root "$roots/$name" "$suite" "$@"; then
      exec {lock}>&-
      return 1
    fi
    while read -r old; do
      rm -rf --one-file-system "$old" "$old.lock"
    done < <(find "$roots" -maxdepth 1 -type d -name "$suite-$use-*" -mtime +7)
  fi
  touch "$roots/$name"
  exec {lock}>&-
  # shellcheck disable=SC2034  # the caller reads it
  saathii_root_dir=$roots/$name/root
}

# A command of the shell on another Debian, which has what building and testing
# needs. The checkout is at /src there, and read-only but for build, which is
# build/SUITE here. WORK is a folder for its /tmp and for what nspawn says. Needs
# packages.sh.
saathii_in_build_root() {
  local suite=$1 version=$2 work=$3 tmp
  local -a packages
  mapfile -t packages < <(
    saathii_package_list build "$version"
    saathii_package_list package "$version"
  )
  saathii_root "$suite" build "${packages[@]}" >&2 || return
  mkdir -p "$ROOT/build/$suite"
  tmp=$(mktemp -d -p "$work")
  chmod 1777 "$tmp"
  saathii_use_ccache
  saathii_in_root "$saathii_root_dir" --bind-ro="$ROOT":/src \
    --bind="$ROOT/build/$suite":/src/build --bind="$tmp":/tmp \
    --bind="$CCACHE_DIR":/cache --setenv=CCACHE_DIR=/cache \
    -- /bin/bash -c "$4" 2>"$work/nspawn.log"
}
