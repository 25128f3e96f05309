# shellcheck shell=bash
# Installs what building, testing and showing saathiid needs, on Debian 12 or 13.
# Source it, then call: saathii_install_packages build, or
# saathii_install_packages tools for what the checks of --full need as well,
# saathii_install_packages torture for what scripts/torture needs (soak: also its picture), or
# saathii_install_packages fuzz for what scripts/fuzz needs, alone, or
# saathii_install_packages package for what making a Debian package needs, alone
#
# Only what is missing is installed, as root or through sudo. Installing a
# server package normally starts that server and makes a database cluster: both
# are held back here, and what holds them back is put away again.

# saathii_package_list build|tools|torture|soak|fuzz|package [DEBIAN_VERSION]: for this system, or another.
saathii_package_list() {
  local version=${2:-} boost=libboost-dev sanitizers=libclang-rt-19-dev
  if [[ -z $version && -r /etc/os-release ]]; then
    version=$(. /etc/os-release && if [[ ${ID:-} == debian ]]; then printf '%s' "${VERSION_ID:-}"; fi)
  fi
  # Debian 12's default Boost, 1.74, is too old; it has 1.81 beside it.
  if [[ $version == 12 ]]; then
    boost=libboost1.81-dev
    sanitizers=libclang-rt-14-dev
  fi
  printf '%s\n' g++ cmake ninja-build ccache pkg-config "$boost" \
    libtomlplusplus-dev libspdlog-dev libfmt-dev libpqxx-dev libhiredis-dev libsystemd-dev \
    libcli11-dev nlohmann-json3-dev libhowardhinnant-date-dev zlib1g-dev \
    libsdbus-c++-dev libsdbus-c++-bin prometheus-cpp-dev libcurl4-openssl-dev
  if [[ ${1:-} == package ]]; then
    printf '%s\n' dpkg-dev file
    return
  fi
  if [[ ${1:-} == fuzz ]]; then
    # Of the version that the package clang stands for.
    printf '%s\n' clang "$sanitizers" tzdata
    return
  fi
  printf '%s\n' catch2 librapidcheck-dev redis-server postgresql dbus-daemon tzdata openssl \
    python3 python3-psycopg2 python3-redis python3-croniter procps util-linux iproute2
  if [[ ${1:-} == torture || ${1:-} == soak || ${1:-} == tools ]]; then
    printf '%s\n' libfaketime patch
  fi
  if [[ ${1:-} == soak ]]; then
    printf '%s\n' python3-matplotlib
  fi
  if [[ ${1:-} == tools ]]; then
    printf '%s\n' clang-format clang-tidy mandoc prometheus shellcheck python3-yaml lintian \
      debootstrap debian-archive-keyring systemd-container dbus polkitd zsh fish
  fi
}

saathii_is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# What runs as root: kept in one subshell, so that its trap puts everything back
# however it ends.
saathii_install_as_root() (
  set -euo pipefail
  export DEBIAN_FRONTEND=noninteractive
  guard=/usr/sbin/policy-rc.d
  cluster_conf=/etc/postgresql-common/createcluster.conf
  # One at a time: a second one would take the first one's guard for the system's,
  # and put it back for good.
  exec 9>/run/saathii-packages.lock
  if ! flock -w 1800 9; then
    echo "Another script has been installing packages for half an hour." >&2
    return 1
  fi
  kept=$(mktemp -d)
  guarded=no
  conf_changed=no

  # shellcheck disable=SC2317  # the trap calls it
  put_back() {
    if [[ $conf_changed == yes ]]; then
      cp -p "$kept/createcluster.conf" "$cluster_conf"
    fi
    if [[ $guarded == yes ]]; then
      rm -f "$guard"
      if [[ -e $kept/policy-rc.d ]]; then cp -p "$kept/policy-rc.d" "$guard"; fi
    fi
    rm -rf "$kept"
  }
  trap put_back EXIT
  trap 'exit 130' INT TERM HUP

  apt() {
    if ! apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" \
      >"$kept/log" 2>&1 </dev/null 9>&-; then
      tail -n 20 "$kept/log" >&2
      return 1
    fi
  }
  put_in() { apt install -y --no-install-recommends "$@"; }
  is_new() { [[ " ${packages[*]} " == *" $1 "* ]]; }

  packages=("$@")
  if [[ -e $guard ]]; then cp -p "$guard" "$kept/policy-rc.d"; fi
  guarded=yes
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod 755 "$guard"

  apt update
  if is_new postgresql; then
    put_in postgresql-common
    cp -p "$cluster_conf" "$kept/createcluster.conf"
    conf_changed=yes
    printf 'create_main_cluster = false\n' >>"$cluster_conf"
  fi
  put_in "${packages[@]}"
  # Nor may a server that came only for our private use start at the next boot.
  if is_new redis-server; then
    update-rc.d redis-server disable >/dev/null 2>&1 || true
    if [[ -d /run/systemd/system ]]; then
      systemctl --quiet disable redis-server.service || true
    fi
  fi
)

saathii_install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "This is not a Debian system: the packages in scripts/lib/packages.sh must be there." >&2
    return 0
  fi
  local package
  local -a missing=()
  while read -r package; do
    saathii_is_installed "$package" || missing+=("$package")
  done < <(saathii_package_list "$@")
  if ((${#missing[@]} == 0)); then
    return 0
  fi
  echo "Installing ${#missing[@]} packages: ${missing[*]}"
  if ((EUID == 0)); then
    saathii_install_as_root "${missing[@]}"
  elif command -v sudo >/dev/null; then
    sudo bash -c "$(declare -f saathii_install_as_root); saathii_install_as_root \"\$@\"" \
      saathii "${missing[@]}"
  else
    echo "Neither root nor sudo: please have these packages installed: ${missing[*]}" >&2
    return 1
  fi
}
