# shellcheck shell=bash
# A private, throw-away PostgreSQL and Redis, on Unix sockets alone.
# Source it, then call: saathii_start_servers durable|fast [POSTGRES_OPTION...]
# It exports SAATHII_TEST_DATABASE_URL and SAATHII_TEST_REDIS_URL and sets
# SAATHII_SERVERS_DIR. The caller's EXIT trap calls saathii_stop_servers.
#
# Both run in sessions of their own, so that Ctrl-C at the terminal reaches
# the caller alone and not them, and both end if the caller is killed.

SAATHII_SERVERS_DIR=
SAATHII_POSTGRES_PID=
SAATHII_REDIS_PID=

# PostgreSQL refuses to run as root: sets `as_postgres` to what runs a command
# as another account. A list of words and no function, so that a process in the
# background is the server itself and not a shell around it.
saathii_set_as_postgres() {
  as_postgres=(env LC_ALL=C.UTF-8)
  if ((EUID == 0)); then
    local account=postgres
    id -u "$account" >/dev/null 2>&1 || account=nobody
    as_postgres=(setpriv "--reuid=$(id -u "$account")" "--regid=$(id -g "$account")"
      --clear-groups --reset-env env LC_ALL=C.UTF-8)
  fi
}

saathii_postgres_bin() {
  local dir newest=
  for dir in /usr/lib/postgresql/*/bin; do
    if [[ -x $dir/initdb && -x $dir/postgres ]]; then newest=$dir; fi
  done
  if [[ -z $newest ]] && command -v initdb >/dev/null; then
    newest=$(dirname "$(readlink -f "$(command -v initdb)")")
  fi
  if [[ -z $newest ]]; then
    echo "No PostgreSQL server program found." >&2
    return 1
  fi
  printf '%s\n' "$newest"
}

# Waits until "$@" succeeds, or process $2 is gone, or $1 seconds are over.
saathii_wait_for() {
  local seconds=$1 pid=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)) || ! kill -0 "$pid" 2>/dev/null; then return 1; fi
    sleep 0.05
  done
}

saathii_start_servers() {
  local durable=${1:-} bin dir
  local -a as_postgres
  saathii_set_as_postgres
  bin=$(saathii_postgres_bin) || return 1
  # A socket's path must fit in 107 bytes, whatever TMPDIR says.
  dir=$(mktemp -d /tmp/saathii.XXXXXX)
  SAATHII_SERVERS_DIR=$dir
  chmod 755 "$dir"
  mkdir "$dir/pg"
  if ((EUID == 0)); then
    chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$dir/pg"
  fi

  if ! "${as_postgres[@]}" "$bin/initdb" -D "$dir/pg/data" -U postgres -A trust -E UTF8 \
    --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 </dev/null; then
    cat "$dir/initdb.log" >&2
    return 1
  fi
  # For tests of passwords: members of this role have to give theirs.
  sed -i '1i local all +saathii_by_password scram-sha-256' "$dir/pg/data/pg_hba.conf"
  local -a options=(-c listen_addresses= -c max_connections=200 -c shared_buffers=256MB
    -c max_wal_size=4GB -c logging_collector=off -c log_min_messages=fatal)
  if [[ $durable != durable ]]; then
    options+=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off)
  fi
  options+=("${@:2}")
  # setpriv is told to end the server with us after it has changed the user:
  # the kernel forgets that wish at a change of user.
  "${as_postgres[@]}" setsid setpriv --pdeathsig INT \
    "$bin/postgres" -D "$dir/pg/data" -k "$dir/pg" -p 5432 "${options[@]}" \
    >"$dir/postgres.log" 2>&1 </dev/null &
  SAATHII_POSTGRES_PID=$!
  setsid setpriv --pdeathsig TERM redis-server --port 0 --unixsocket "$dir/redis.sock" \
    --unixsocketperm 777 --save "" --appendonly no --dir "$dir" \
    >"$dir/redis.log" 2>&1 </dev/null &
  SAATHII_REDIS_PID=$!

  if ! saathii_wait_for 30 "$SAATHII_POSTGRES_PID" "$bin/pg_isready" -q -h "$dir/pg" -p 5432; then
    echo "The private PostgreSQL did not start:" >&2
    tail -n 20 "$dir/postgres.log" >&2
    return 1
  fi
  if ! saathii_wait_for 15 "$SAATHII_REDIS_PID" redis-cli -s "$dir/redis.sock" ping; then
    echo "The private Redis did not start:" >&2
    tail -n 20 "$dir/redis.log" >&2
    return 1
  fi
  export SAATHII_TEST_DATABASE_URL="postgresql:///postgres?host=$dir/pg&port=5432&user=postgres"
  export SAATHII_TEST_REDIS_URL="unix://$dir/redis.sock"
}

# Asks the process to end, and makes it after $2 tenths of a second.
saathii_end_process() {
  local pid=$1 tenths=$2 signal=$3
  if [[ -z $pid ]] || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
  kill "-$signal" "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    if ((tenths-- == 0)); then
      kill -KILL "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || true
}

# Safe to call at any moment, and twice.
saathii_stop_servers() {
  saathii_end_process "$SAATHII_REDIS_PID" 50 TERM
  SAATHII_REDIS_PID=
  saathii_end_process "$SAATHII_POSTGRES_PID" 100 INT
  SAATHII_POSTGRES_PID=
  if [[ -n $SAATHII_SERVERS_DIR ]]; then rm -rf "$SAATHII_SERVERS_DIR"; fi
  SAATHII_SERVERS_DIR=
}
