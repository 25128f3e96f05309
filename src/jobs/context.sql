-- name: now
-- In microseconds since the Unix epoch.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
