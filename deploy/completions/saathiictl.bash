# shellcheck shell=bash
# Completion of saathiictl(1) for bash. Needs nothing but bash itself.

_saathiictl_commands='status jobs show history run pause resume reload health log-level calendar call wallet audit'

# Asks the daemon for the names of its jobs; quiet if it cannot be reached.
_saathiictl_jobs() {
  saathiictl "${bus[@]}" jobs --names 2>/dev/null
}

_saathiictl() {
  local words=() word current previous command='' values='' at
  local -a bus=()
  COMPREPLY=()

  # bash breaks words at "=": "--json=sh" comes as three.
  for ((at = 1; at <= COMP_CWORD; at++)); do
    word=${COMP_WORDS[at]}
    if [[ $word == '=' ]]; then
      previous=${words[-1]:-}
      [[ $previous == --* ]] && continue
    fi
    words+=("$word")
  done
  current=${COMP_WORDS[COMP_CWORD]}
  if [[ $current == '=' ]]; then
    current=''
    words+=('')
  fi
  previous=''
  if ((${#words[@]} > 1)); then previous=${words[-2]}; fi

  # The command, and where the daemon is, as far as they have been written.
  for ((at = 0; at < ${#words[@]} - 1; at++)); do
    word=${words[at]}
    case $word in
      --bus)
        bus=("--bus=${words[at + 1]}")
        ((at++))
        ;;
      --json | --since | --outcome | --at | -n | --count | -c | --config | --grace | --limit) ((at++)) ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=$word; fi ;;
    esac
  done

  case $previous in
    --bus) values='system session' ;;
    --json) values='short pretty off' ;;
    --outcome) values='succeeded failed timed_out skipped coalesced missed' ;;
    --since) values='today yesterday 10m 1h 1d 7d' ;;
    --at | -n | --count | --limit) return ;;
    --grace) values='1m 10m 1h' ;;
    -c | --config)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    *)
      if [[ $current == -* ]]; then
        values='--help --version --bus --json -j --no-pager --no-legend --full --utc --quiet'
        case $command in
          jobs) values+=' --names' ;;
          history) values+=' --since --outcome --count' ;;
          calendar | wallet) values+=' --count' ;;
          run) values+=' --at --wait' ;;
          audit) values+=' --config --since --grace --limit --repair --baseline --yes' ;;
        esac
      else
        case $command in
          '') values=$_saathiictl_commands ;;
          pause | resume) values=$(_saathiictl_jobs) ;;
          show | history | run | calendar)
            # One job, which is not written yet.
            [[ " ${words[*]:0:${#words[@]}-1} " == *" $command "[a-z]* ]] ||
              values=$(_saathiictl_jobs)
            ;;
          log-level) values='trace debug info warning error' ;;
        esac
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
}

complete -F _saathiictl saathiictl
