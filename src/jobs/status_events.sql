-- name: current_status
-- $1 user ids. Who was deleted meanwhile is absent. last_seen in microseconds
-- since the Unix epoch; "infinity" has none.
SELECT u.user_id, u.username, u.profile_image_url,
       coalesce(s.is_online, false) AS is_online,
       CASE WHEN isfinite(s.last_seen)
            THEN (extract(epoch FROM s.last_seen) * 1000000)::bigint END AS last_seen_us,
       coalesce(s.is_busy, false) AS is_busy, s.wait_time
  FROM public.users AS u
  LEFT JOIN public.user_status AS s ON s.user_id = u.user_id
 WHERE u.user_id = ANY ($1::int[])
 ORDER BY u.user_id
