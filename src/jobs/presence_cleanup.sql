-- In all of it NULL in is_online or is_busy is false.

-- name: set_offline
-- $1 T, $2 inactive_after, $3 the user to go on after, $4 limit. One pass over
-- the users in order, so that the batches are bounded by the rows there are.
-- Taking a row's lock checks its conditions again: a heartbeat that came in
-- between keeps its user online, one that is under way is left alone.
WITH stale AS (
  SELECT user_id
    FROM public.user_status
   WHERE is_online
     AND (last_seen IS NULL OR last_seen < $1::timestamptz - $2::interval)
     AND user_id > $3::int
   ORDER BY user_id
   LIMIT $4::int
     FOR NO KEY UPDATE SKIP LOCKED)
UPDATE public.user_status AS s
   SET is_online = false, updated_at = now()
  FROM stale
 WHERE s.user_id = stale.user_id
RETURNING s.user_id

-- name: lock_stuck
-- $1 the user to go on after, $2 limit. Candidates for clear_stuck, locked; only
-- that statement, which sees what was committed until the lock was had, decides.
SELECT s.user_id
  FROM public.user_status AS s
 WHERE s.is_busy
   AND s.user_id > $1::int
   AND NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.user_id = s.user_id AND c.status = 'ongoing')
   AND NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.listener_id = s.user_id AND c.status = 'ongoing')
 ORDER BY s.user_id
 LIMIT $2::int
   FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: clear_stuck
-- $1 T, $2 busy_grace, $3 user ids that lock_stuck has locked in this
-- transaction. A call that began before the lock was had is seen here.
--
-- A user is free since the end of the latest call. updated_at is only what
-- remains where no call ever ended: whatever else touches the row, such as a
-- heartbeat, may renew it, and would keep the flag up for ever.
UPDATE public.user_status AS s
   SET is_busy = false, wait_time = NULL, updated_at = now()
 WHERE s.user_id = ANY ($3::int[])
   AND s.is_busy
   AND NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.user_id = s.user_id AND c.status = 'ongoing')
   AND NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.listener_id = s.user_id AND c.status = 'ongoing')
   AND (s.wait_time <= 0
        OR coalesce(greatest((SELECT max(c.end_time) FROM public.user_calls AS c
                               WHERE c.user_id = s.user_id),
                             (SELECT max(c.end_time) FROM public.user_calls AS c
                               WHERE c.listener_id = s.user_id)),
                    s.updated_at, '-infinity') < $1::timestamptz - $2::interval)
RETURNING s.user_id

-- name: count_online
SELECT count(*) FROM public.user_status WHERE is_online
