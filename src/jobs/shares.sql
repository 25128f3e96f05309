-- A run's work in slices, which any instance may claim one by one. A claim is worth
-- as much as the session that made it, and for ten seconds: who is slower is helped,
-- because what guards the money are the calls' locks and the ledger.

-- name: others
-- How many instances stand by.
SELECT count(*)
  FROM saathii_tasks.instance AS other, saathii_tasks.leadership AS leadership
 WHERE other.id IS DISTINCT FROM leadership.holder
   AND other.seen_at > clock_timestamp() - 3 * leadership.lease

-- name: forget
-- $1 job.
DELETE FROM saathii_tasks.share WHERE job = $1::text

-- name: offer
-- $1 job, $2 term, $3 T, $4 how many slices.
INSERT INTO saathii_tasks.share (job, slice, slices, term, moment, counts)
SELECT $1::text, slice - 1, $4::int, $2::bigint, $3::timestamptz, '[]'
  FROM generate_series(1, $4::int) AS slice

-- name: find
-- $1 job. What is offered under the present term, and nobody has begun.
SELECT share.term, (extract(epoch FROM share.moment) * 1000000)::bigint, share.slices
  FROM saathii_tasks.share AS share
  JOIN saathii_tasks.leadership AS leadership ON leadership.term = share.term
 WHERE share.job = $1::text AND share.claimed_at IS NULL AND share.done_at IS NULL
 LIMIT 1

-- name: claim
-- $1 job, $2 term, $3 T. What somebody could not do comes last.
UPDATE saathii_tasks.share
   SET claimed_by = pg_backend_pid(), claimed_at = clock_timestamp()
 WHERE job = $1::text
   AND slice = (SELECT slice
                  FROM saathii_tasks.share
                 WHERE job = $1::text AND term = $2::bigint AND moment = $3::timestamptz
                   AND done_at IS NULL
                   AND (claimed_by IS NULL
                        OR claimed_at < clock_timestamp() - interval '10 s'
                        OR NOT EXISTS (SELECT FROM pg_stat_get_activity(claimed_by)))
                 ORDER BY claimed_at NULLS FIRST, slice
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED)
RETURNING slice

-- name: finish
-- $1 job, $2 term, $3 T, $4 slice, $5 counts as JSON: what is not in the leader's own.
-- Also by who was helped meanwhile: each has counted what it did itself.
UPDATE saathii_tasks.share
   SET done_at = coalesce(done_at, clock_timestamp()), counts = counts || $5::jsonb
 WHERE job = $1::text AND term = $2::bigint AND moment = $3::timestamptz AND slice = $4::int

-- name: give_back
-- The same, not done: somebody else may try, once there is nothing else to do.
UPDATE saathii_tasks.share
   SET counts = counts || $5::jsonb,
       claimed_by = CASE WHEN claimed_by = pg_backend_pid() THEN NULL ELSE claimed_by END
 WHERE job = $1::text AND term = $2::bigint AND moment = $3::timestamptz AND slice = $4::int

-- name: left
-- $1 job, $2 term, $3 T.
SELECT count(*)
  FROM saathii_tasks.share
 WHERE job = $1::text AND term = $2::bigint AND moment = $3::timestamptz AND done_at IS NULL

-- name: sums
-- $1 job, $2 term, $3 T.
SELECT entry.key, sum(entry.value::bigint)::bigint
  FROM saathii_tasks.share AS share
 CROSS JOIN LATERAL jsonb_array_elements(share.counts) AS part
 CROSS JOIN LATERAL jsonb_each_text(part) AS entry
 WHERE share.job = $1::text AND share.term = $2::bigint AND share.moment = $3::timestamptz
 GROUP BY entry.key
