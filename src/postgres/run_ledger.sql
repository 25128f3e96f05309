-- name: last_tick
-- $1 job, $2 now. A range may reach beyond now, where the clock was set back.
-- A run that was asked for says only since when the job is known: ticks before it
-- may still have waited for their start.
SELECT coalesce(
  (SELECT least(last_scheduled_at, $2::timestamptz)
     FROM saathii_tasks.job_run
    WHERE job = $1::text AND scheduled_at <= $2::timestamptz AND ticks > 0
    ORDER BY scheduled_at DESC
    LIMIT 1),
  (SELECT min(scheduled_at)
     FROM saathii_tasks.job_run
    WHERE job = $1::text AND scheduled_at <= $2::timestamptz))

-- name: offered_ahead
-- $1 job, $2 now, $3 limit.
SELECT scheduled_at
  FROM saathii_tasks.job_run
 WHERE job = $1::text AND scheduled_at > $2::timestamptz
   AND outcome NOT IN ('coalesced', 'missed') AND ticks > 0
 ORDER BY scheduled_at
 LIMIT $3::int

-- name: last_run
-- $1 job. The latest that ran as of its own moment, whatever came of it.
SELECT job, scheduled_at, last_scheduled_at, ticks, outcome, reason, run_id, started_at,
       finished_at, attempts, counts
  FROM saathii_tasks.job_run
 WHERE job = $1::text AND run_id IS NOT NULL AND as_of IS NULL
 ORDER BY scheduled_at DESC
 LIMIT 1

-- name: last_success
-- $1 job.
SELECT finished_at
  FROM saathii_tasks.job_run
 WHERE job = $1::text AND outcome = 'succeeded' AND as_of IS NULL
 ORDER BY scheduled_at DESC
 LIMIT 1

-- name: record
-- $1 a JSON array of rows. What was written off gives way to a run's outcome,
-- never the reverse. Outcomes of a term of leadership that is over are left out: who
-- leads now accounts for their ticks. Ticks that were written off already, in a range
-- that a clock ahead of this one reached into the future, are not written off again.
WITH present AS MATERIALIZED (
  SELECT term, set_config('idle_in_transaction_session_timeout', '5s', true)
    FROM saathii_tasks.leadership
     FOR KEY SHARE)
INSERT INTO saathii_tasks.job_run AS known
       (job, scheduled_at, last_scheduled_at, ticks, outcome, reason, run_id, started_at,
        finished_at, attempts, counts, as_of, term)
SELECT job, scheduled_at, last_scheduled_at, ticks, outcome, reason, run_id, started_at,
       finished_at, attempts, counts, as_of, given.term
  FROM jsonb_to_recordset($1::jsonb) AS given (
         job text, scheduled_at timestamptz, last_scheduled_at timestamptz, ticks bigint,
         outcome text, reason text, run_id uuid, started_at timestamptz, finished_at timestamptz,
         attempts integer, counts jsonb, as_of timestamptz, term bigint)
 WHERE (given.term IS NULL OR given.term = (SELECT term FROM present))
   AND (given.outcome NOT IN ('coalesced', 'missed')
        OR given.last_scheduled_at
           > coalesce((SELECT last_scheduled_at
                         FROM saathii_tasks.job_run AS earlier
                        WHERE earlier.job = given.job AND earlier.scheduled_at < given.scheduled_at
                          AND earlier.outcome IN ('coalesced', 'missed')
                        ORDER BY earlier.scheduled_at DESC
                        LIMIT 1), '-infinity'))
    ON CONFLICT (job, scheduled_at) DO UPDATE
   SET last_scheduled_at = excluded.last_scheduled_at, ticks = excluded.ticks,
       outcome = excluded.outcome, reason = excluded.reason, run_id = excluded.run_id,
       started_at = excluded.started_at, finished_at = excluded.finished_at,
       attempts = excluded.attempts, counts = excluded.counts, as_of = excluded.as_of,
       term = excluded.term,
       recorded_at = now()
 WHERE known.outcome IN ('coalesced', 'missed')
   AND excluded.outcome NOT IN ('coalesced', 'missed')

-- name: prune_runs
-- $1 age as an interval, $2 limit. Each job's newest tick stays: it says where to go on.
DELETE FROM saathii_tasks.job_run
 WHERE (job, scheduled_at) IN (
         SELECT job, scheduled_at
           FROM saathii_tasks.job_run AS old
          WHERE scheduled_at < now() - $1::interval
            AND EXISTS (SELECT FROM saathii_tasks.job_run AS newer
                         WHERE newer.job = old.job AND newer.scheduled_at > old.scheduled_at
                           AND newer.ticks > 0)
          LIMIT $2::int)

-- name: prune_charges
-- $1 age as an interval, $2 limit. An ongoing call's charges stay, however old.
DELETE FROM saathii_tasks.call_charge
 WHERE (call_id, minute) IN (
         SELECT call_id, minute
           FROM saathii_tasks.call_charge AS old
          WHERE charged_at < now() - $1::interval
            AND NOT EXISTS (SELECT FROM public.user_calls AS call
                             WHERE call.call_id = old.call_id AND call.status = 'ongoing')
          LIMIT $2::int)

-- name: prune_settlements
-- $1 age as an interval, $2 limit.
DELETE FROM saathii_tasks.call_settlement
 WHERE call_id IN (SELECT call_id FROM saathii_tasks.call_settlement
                    WHERE settled_at < now() - $1::interval LIMIT $2::int)
