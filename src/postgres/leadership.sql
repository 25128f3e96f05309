-- Which instance leads: what runs once for the platform is its. One row says so;
-- its term grows by one whenever another instance takes over.
--
-- An effect locks the row FOR KEY SHARE with its own term, and so keeps the term
-- from changing until it is committed; renewing touches no key, and waits for
-- nobody. Taking over changes the key: it waits for the effects of the old term,
-- and no effect of it can begin any more.

-- name: fence
-- $1 term. A row if it is in force. What the transaction writes into our tables
-- bears the term. A leader that stands still within a transaction must not hold up
-- the next one for long.
SELECT set_config('saathii_tasks.term', $1::text, true),
       set_config('idle_in_transaction_session_timeout', '5s', true)
  FROM saathii_tasks.leadership
 WHERE term = $1::bigint
   FOR KEY SHARE

-- name: enter
-- $1 this process's id, $2 its instance's name. On the session that stands for it.
INSERT INTO saathii_tasks.instance (id, name, backend_pid, backend_start)
SELECT $1::uuid, $2::text, pg_backend_pid(), session.backend_start
  FROM pg_stat_get_activity(pg_backend_pid()) AS session
    ON CONFLICT (id) DO UPDATE
   SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
       seen_at = clock_timestamp()

-- name: forget_old
DELETE FROM saathii_tasks.instance WHERE seen_at < clock_timestamp() - interval '1 day'

-- name: renew
-- $1 id, $2 term, $3 the lease. Returns whether it still leads, and how many
-- others there are.
WITH me AS (
  UPDATE saathii_tasks.instance SET seen_at = clock_timestamp() WHERE id = $1::uuid),
renewed AS (
  UPDATE saathii_tasks.leadership
     SET renewed_at = clock_timestamp(), lease = $3::interval
   WHERE holder = $1::uuid AND term = $2::bigint
  RETURNING lease)
SELECT EXISTS (SELECT FROM renewed),
       (SELECT count(*) FROM saathii_tasks.instance
         WHERE id <> $1::uuid AND seen_at > clock_timestamp() - 3 * $3::interval)

-- name: look
-- $1 id. Who leads. Vacant: nobody does. Gone: the session that stands for the
-- leader is. Lapsed: the lease has run out, and the leader has had the time of one
-- to learn that somebody else is there: alone, it renews seldom.
WITH me AS (
  UPDATE saathii_tasks.instance SET seen_at = clock_timestamp() WHERE id = $1::uuid
  RETURNING since)
SELECT leadership.term, coalesce(leader.name, ''),
       (extract(epoch FROM leadership.since) * 1000000)::bigint AS since_us,
       leadership.renewed_at::text,
       leadership.holder IS NULL AS vacant,
       NOT EXISTS (SELECT FROM pg_stat_get_activity(leader.backend_pid) AS session
                    WHERE leader.backend_pid IS NOT NULL
                      AND (session.backend_start IS NULL
                           OR session.backend_start = leader.backend_start)) AS gone,
       coalesce(greatest(leadership.renewed_at, me.since) + leadership.lease < clock_timestamp(),
                false) AS lapsed,
       EXISTS (SELECT FROM saathii_tasks.share
                WHERE term = leadership.term AND claimed_at IS NULL AND done_at IS NULL)
         AS help_wanted
  FROM saathii_tasks.leadership AS leadership
  LEFT JOIN saathii_tasks.instance AS leader ON leader.id = leadership.holder
  LEFT JOIN me ON true

-- name: lock
-- $1 the term and $2 the renewal that look saw. Waits for the effects of the term;
-- whoever stands still with it must not hold up everybody for long.
SELECT term, set_config('idle_in_transaction_session_timeout', '5s', true)
  FROM saathii_tasks.leadership
 WHERE term = $1::bigint AND renewed_at = $2::timestamptz
   FOR UPDATE

-- name: take
-- $1 id, $2 name, $3 lease. After lock, so that the moment is later than all that
-- was done under the old term.
WITH taken AS (
  UPDATE saathii_tasks.leadership
     SET term = term + 1, holder = $1::uuid, since = clock_timestamp(),
         renewed_at = clock_timestamp(), lease = $3::interval
  RETURNING term, since),
kept AS (
  INSERT INTO saathii_tasks.leadership_term (term, instance, since)
  SELECT term, $2::text, since FROM taken)
SELECT term, (extract(epoch FROM since) * 1000000)::bigint FROM taken

-- name: leave
-- $1 id.
WITH resigned AS (
  UPDATE saathii_tasks.leadership SET holder = NULL WHERE holder = $1::uuid)
DELETE FROM saathii_tasks.instance WHERE id = $1::uuid

-- name: notify
SELECT pg_notify('saathii_tasks', '')
