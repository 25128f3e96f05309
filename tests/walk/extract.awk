# Prints the fenced block that follows a line that names `file` and ends in a
# colon. Usage: awk -v file=src/jobs/x.sql -f extract.awk CONTRIBUTING.md
!found && index($0, "`" file "`") && /:$/ { found = 1; next }
found && !inside && /^```/ { inside = 1; next }
inside && /^```/ { exit }
inside { print }
