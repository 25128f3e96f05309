-- name: no_longer_ongoing
-- $1 call ids. Those that have ended, or are gone.
SELECT coalesce(array_agg(given.call_id), '{}')
  FROM unnest($1::int[]) AS given (call_id)
 WHERE NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.call_id = given.call_id AND c.status = 'ongoing')

-- name: drifted
-- $1 call ids, $2 the coins_spent that was shown of each. Where that is no longer
-- true: what it is now, NULL for a call that has ended or is gone.
SELECT given.call_id, CASE WHEN c.call_id IS NOT NULL THEN coalesce(c.coins_spent, 0) END
  FROM unnest($1::int[], $2::bigint[]) AS given (call_id, coins_spent)
  LEFT JOIN public.user_calls AS c ON c.call_id = given.call_id AND c.status = 'ongoing'
 WHERE c.call_id IS NULL OR coalesce(c.coins_spent, 0) <> given.coins_spent

-- name: ongoing_page
-- $1 only calls after this id, $2 at most so many: what Redis should hold.
SELECT call_id, user_id, listener_id, call_type,
       (date_part('epoch', start_time) * 1000000)::bigint AS start_us, coalesce(coins_spent, 0)
  FROM public.user_calls
 WHERE status = 'ongoing' AND call_id > $1::int AND isfinite(start_time)
 ORDER BY call_id
 LIMIT $2::int

-- name: ongoing_among
-- $1 call ids. The same of those of them that are ongoing.
SELECT call_id, user_id, listener_id, call_type,
       (date_part('epoch', start_time) * 1000000)::bigint AS start_us, coalesce(coins_spent, 0)
  FROM public.user_calls
 WHERE status = 'ongoing' AND call_id = ANY ($1::int[]) AND isfinite(start_time)

-- name: living_instances
-- Those whose session is there, as far as this role may see it.
SELECT coalesce(string_agg(instance.id::text, ',' ORDER BY instance.id), '')
  FROM saathii_tasks.instance AS instance
 WHERE EXISTS (SELECT FROM pg_stat_get_activity(instance.backend_pid) AS session
                WHERE session.backend_start IS NULL
                   OR session.backend_start = instance.backend_start)
