# Turns a .sql file into a header: each statement between two "-- name: NAME"
# lines becomes a constant. Text before the first name is a comment of the file.
# Usage: awk -v file=coin_deduction -f embed_sql.awk coin_deduction.sql
BEGIN {
  print "// Generated from " file ".sql. Edit that file."
  print "#pragma once"
  print "#include \"saathii/postgres/statement.hpp\""
  print "namespace saathii::sql::" file " {"
}
function finish() { if (name != "") { print ")sql\"};"; names = names name ", " } }
/^-- name: [a-z][a-z0-9_]*$/ {
  finish()
  name = $3
  printf "inline constexpr postgres::Statement %s{\"%s.%s\", R\"sql(", name, file, name
  next
}
name != "" { print }
END {
  finish()
  print "inline constexpr postgres::Statement all[] = {" names "};"
  print "}  // namespace saathii::sql::" file
}
