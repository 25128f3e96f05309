-- In all of it NULL in is_online or is_busy is false. What is to be changed is
-- first found without a lock, then changed batch by batch: taking a row's lock
-- checks its conditions again, and skips what somebody holds, so that neither
-- we nor a heartbeat ever wait for long.

-- name: find_stale
-- $1 T, $2 inactive_after, $3 the user to go on after, $4 limit.
SELECT user_id
  FROM public.user_status
 WHERE is_online
   AND (last_seen IS NULL OR last_seen < $1::timestamptz - $2::interval)
   AND user_id > $3::int
 ORDER BY user_id
 LIMIT $4::int

-- name: set_offline
-- $1 T, $2 inactive_after, $3 user ids. A heartbeat that came in between keeps
-- its user online.
WITH stale AS (
  SELECT user_id
    FROM public.user_status
   WHERE user_id = ANY ($3::int[])
     AND is_online
     AND (last_seen IS NULL OR last_seen < $1::timestamptz - $2::interval)
   ORDER BY user_id
     FOR NO KEY UPDATE SKIP LOCKED)
UPDATE public.user_status AS s
   SET is_online = false, updated_at = now()
  FROM stale
 WHERE s.user_id = stale.user_id
RETURNING s.user_id

-- name: find_stuck
-- $1 the user to go on after, $2 limit. Who is busy without an ongoing call; the
-- calls are gone over once, because looking up each user's would read through
-- all the calls that the user ever had.
WITH talking AS MATERIALIZED (
  SELECT unnest(ARRAY[user_id, listener_id]) AS user_id
    FROM public.user_calls
   WHERE status = 'ongoing')
SELECT s.user_id
  FROM public.user_status AS s
 WHERE s.is_busy
   AND s.user_id > $1::int
   AND NOT EXISTS (SELECT FROM talking WHERE talking.user_id = s.user_id)
 ORDER BY s.user_id
 LIMIT $2::int

-- name: lock_busy
-- $1 user ids.
SELECT user_id
  FROM public.user_status
 WHERE user_id = ANY ($1::int[]) AND is_busy
 ORDER BY user_id
   FOR NO KEY UPDATE SKIP LOCKED

-- name: clear_stuck
-- $1 T, $2 busy_grace, $3 user ids that lock_busy has locked in this
-- transaction: a statement that begins only then sees a call that was begun
-- since find_stuck.
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
