# Completion of saathiictl(1) for fish.

set -l commands status jobs show history run pause resume reload health log-level calendar call wallet audit

# Asks the daemon for the names of its jobs; quiet if it cannot be reached.
function __saathiictl_jobs
    set -l bus (string match -r -- '^--bus=.+' (commandline -opc))
    saathiictl $bus jobs --names 2>/dev/null
end

complete -c saathiictl -f
complete -c saathiictl -s h -l help -d 'Print help'
complete -c saathiictl -l version -d 'Print the version'
complete -c saathiictl -l bus -x -a 'system session' -d 'Where saathiid is'
complete -c saathiictl -l json -x -a 'short pretty off' -d 'Print JSON'
complete -c saathiictl -s j -d 'Print JSON, pretty on a terminal'
complete -c saathiictl -l no-pager -d 'Never through a pager'
complete -c saathiictl -l no-legend -d 'No headings and no closing remarks'
complete -c saathiictl -s l -l full -d 'Cut nothing off'
complete -c saathiictl -l utc -d 'Read and write times in UTC'
complete -c saathiictl -s q -l quiet -d 'No word where all went well'

set -l none "not __fish_seen_subcommand_from $commands"
complete -c saathiictl -n $none -a status -d 'One screen of how everything is'
complete -c saathiictl -n $none -a jobs -d 'The jobs with their schedules'
complete -c saathiictl -n $none -a show -d 'All there is to know of a job'
complete -c saathiictl -n $none -a history -d 'What became of ticks, newest first'
complete -c saathiictl -n $none -a run -d 'Run a job now'
complete -c saathiictl -n $none -a pause -d 'Let the ticks of jobs end as skipped'
complete -c saathiictl -n $none -a resume -d 'End a pause'
complete -c saathiictl -n $none -a reload -d 'Read the configuration anew'
complete -c saathiictl -n $none -a health -d 'Whether all is well, as an exit code'
complete -c saathiictl -n $none -a log-level -d 'Tell or set the log level'
complete -c saathiictl -n $none -a calendar -d 'When jobs run next'
complete -c saathiictl -n $none -a call -d 'The receipt of a call'
complete -c saathiictl -n $none -a wallet -d 'A balance and its latest transactions'
complete -c saathiictl -n $none -a audit -d 'Recount whether the ten invariants of billing hold'

set -l of_jobs '__fish_seen_subcommand_from show history run calendar pause resume'
complete -c saathiictl -n $of_jobs -a '(__saathiictl_jobs)' -d Job
complete -c saathiictl -n '__fish_seen_subcommand_from jobs' -l names -d 'Their names alone'
complete -c saathiictl -n '__fish_seen_subcommand_from history' -l since -x \
    -a 'today yesterday 10m 1h 1d 7d' -d 'No older than this'
complete -c saathiictl -n '__fish_seen_subcommand_from history' -l outcome -x \
    -a 'succeeded failed timed_out skipped coalesced missed' -d 'This outcome alone'
complete -c saathiictl -n '__fish_seen_subcommand_from history calendar wallet' -s n -l count -x \
    -d 'At most so many'
complete -c saathiictl -n '__fish_seen_subcommand_from run' -l at -x -d 'As if at this moment'
complete -c saathiictl -n '__fish_seen_subcommand_from run' -s w -l wait -d 'Until it has ended'
complete -c saathiictl -n '__fish_seen_subcommand_from log-level' \
    -a 'trace debug info warning error'

set -l audit '__fish_seen_subcommand_from audit'
complete -c saathiictl -n $audit -s c -l config -r -F -d "The daemon's configuration"
complete -c saathiictl -n $audit -l since -x -a 'today yesterday 1d 7d' -d 'Leave out ended calls from before'
complete -c saathiictl -n $audit -l grace -x -a '1m 10m 1h' -d 'What is younger is in flight'
complete -c saathiictl -n $audit -l limit -x -d 'List so many of each kind'
complete -c saathiictl -n $audit -l repair -d 'Then write rows that make good what is wrong'
complete -c saathiictl -n $audit -l baseline -d 'Record what wallets opened with'
complete -c saathiictl -n $audit -s y -l yes -d 'Do not ask before writing'
